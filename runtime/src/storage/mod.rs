//! Where snapshots lie: named bytes below a root, behind what an object store can do too. Owns the contract, [`Storage`], and
//! what can go wrong; knows neither a manifest nor state. A folder on this machine is [`Local`], the memory of this process
//! [`Memory`].

mod error;
mod local;
mod memory;

use std::fmt::Debug;
use std::ops::Range;
use std::path::{Path, PathBuf};

pub use self::error::Error;
pub use self::local::Local;
pub use self::memory::Memory;

/// Named bytes. A name is a path of one or two parts: `files/7-…`, `12-7/manifest`. What has a name never changes, but for
/// what [`Storage::put`] writes. All calls block.
pub trait Storage: Debug + Send + Sync {
    /// Writes bytes under a name that nothing has yet, else [`Error::Exists`]: there whole and durable when this returns, or
    /// not there at all. Nothing but a manifest needs so much, so the crash points on the way are those of a manifest.
    ///
    /// On [`Error::NoSpace`] nothing remains. After any other failure the process ends.
    fn put_new(&self, name: &str, bytes: &[u8]) -> Result<(), Error>;

    /// Writes bytes under a name in a folder in which something lies, in place of what has the name. A crash may lose them.
    fn put(&self, name: &str, bytes: &[u8]) -> Result<(), Error>;

    /// Takes in a finished file of this machine, best one from [`Storage::staging`], under a name that says its content:
    /// where the name is there already, either content will do. The content is durable then, the name by [`Storage::sync`].
    /// The file is gone.
    fn adopt(&self, file: &Path, name: &str) -> Result<(), Error>;

    /// Makes the names in a folder durable.
    fn sync(&self, folder: &str) -> Result<(), Error>;

    /// How many bytes have this name; `None`: there is none.
    fn length(&self, name: &str) -> Result<Option<u64>, Error>;

    /// All bytes of a name.
    fn get(&self, name: &str) -> Result<Vec<u8>, Error>;

    /// Bytes of a name from `range.start` on, fewer than asked for where they end.
    fn get_range(&self, name: &str, range: Range<u64>) -> Result<Vec<u8>, Error>;

    /// What lies directly in a folder, sorted by name; in the root where it is empty. A folder that is not there is empty.
    fn list(&self, folder: &str) -> Result<Vec<Entry>, Error>;

    /// Deletes a name. False: it was not there, which is no error.
    fn delete(&self, name: &str) -> Result<bool, Error>;

    /// Deletes a folder, if nothing lies in it. Where folders are only beginnings of names there is nothing to do.
    fn delete_folder(&self, folder: &str) -> Result<(), Error>;

    /// Gives a stored file a path of this machine that nothing has yet. What lies there then may be the stored bytes
    /// themselves: nobody changes it.
    fn bring_out(&self, name: &str, to: &Path) -> Result<(), Error>;

    /// The folder of this machine where files for [`Storage::adopt`] are written.
    fn staging(&self) -> &Path;

    /// What a name is called in messages.
    fn place(&self, name: &str) -> PathBuf;
}

/// What lies in a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name in that folder.
    pub name: String,
    /// How long it is; `None`: a folder.
    pub bytes: Option<u64>,
}

#[cfg(test)]
mod tests;
