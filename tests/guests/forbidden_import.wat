;; A component that wants a network: refused, naming the import.
(component
  (import "wasi:sockets/network@0.2.0" (instance
    (export "network" (type (sub resource)))
  ))
)
