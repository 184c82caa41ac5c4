//! Checkpoints: alignment and counting of barriers, the coordinator, the manifest, the commit records. What a domain does with them: `crate::domain`.

pub mod alignment;
pub mod barriers;
pub mod commit;
pub mod coordinator;
pub mod counting;
pub mod manifest;
