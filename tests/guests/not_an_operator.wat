;; A component that imports nothing and exports nothing of the contract.
(component)
