;; A component that was built for a contract of the future: refused by name before anything runs.
(component
  (import "weir:operator/clock@9.9.0" (instance
    (export "watermark" (func (result s64)))
  ))
)
