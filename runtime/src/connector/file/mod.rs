//! Files: a source of lines, a sink of lines that appears epoch by epoch. `publish` is what the snapshot writer and the
//! recovery do with staged parts.

mod publish;
mod sink;
mod source;

pub use publish::{Folders, any_part, part_of_others};
pub use sink::{FileSink, check_folder};
pub use source::FileSource;
