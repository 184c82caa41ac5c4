;; A core module, as a compiler leaves it: refused with the advice to use `weir build`.
(module (func (export "run")))
