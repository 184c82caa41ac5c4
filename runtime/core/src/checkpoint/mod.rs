//! Checkpoints: alignment, the coordinator, the manifest, the commit records. What a domain does with them: `crate::domain`.

pub mod alignment;
pub mod commit;
pub mod coordinator;
pub mod manifest;
