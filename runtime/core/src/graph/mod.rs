//! A pipeline as its user writes it (`spec`), what must hold for it (`check`), and how the engine runs it (`plan`).
//! Pure: text, files, carets and the broker are the business of `settings` and `connector` in the crate `weir`.

pub mod check;
pub mod fault;
pub mod nearest;
pub mod plan;
#[cfg(test)]
mod sample;
pub mod spec;
