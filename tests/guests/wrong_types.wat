;; Exports the guest interface under its right name, with functions of other types.
(component
  (core module $m
    (func (export "describe") (result i32) (i32.const 0))
  )
  (core instance $i (instantiate $m))
  (func $describe (result u32) (canon lift (core func $i "describe")))
  (instance $guest (export "describe" (func $describe)))
  (export "weir:operator/guest@0.1.0" (instance $guest))
)
