//! Checkpoints: alignment, the coordinator, the manifest, the commit protocol of a domain.

pub mod commit;
pub mod manifest;
