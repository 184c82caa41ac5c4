//! Files: a source of lines, a sink of lines that appears epoch by epoch. `publish` is what the snapshot writer and the
//! recovery do with staged parts, `folders` says whose the folders of sinks are.

mod folders;
mod publish;
mod sink;
mod source;

pub use folders::{Folders, part_of_others, part_of_strangers};
pub use publish::any_part;
pub use sink::{FileSink, check_folder};
pub use source::FileSource;
