//! Native code on disk, one file per component and engine: the sha256 of the code, then the code. An entry that is damaged,
//! foreign or cannot be read is no entry; a folder that cannot be used is no cache. Never fails, never looks into the code.

use std::fs::{self, DirBuilder, Metadata};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// Bytes of all entries; over it, those that were written first go.
const BYTES_MAX: u64 = 512 << 20;
/// Bytes of the digest in front.
const DIGEST: usize = 32;

pub(super) struct Cache {
    folder: PathBuf,
}

impl Cache {
    /// Nothing is made before something is kept.
    pub(super) fn new(folder: PathBuf) -> Cache {
        Cache { folder }
    }

    /// The code under this name, whole.
    pub(super) fn get(&self, name: &str) -> Option<Vec<u8>> {
        let path = self.folder.join(name);
        match fs::metadata(&self.folder).and_then(|folder| is_ours(&folder)).and_then(|()| fs::read(&path)) {
            Ok(bytes) => {
                let native = checked(bytes);
                if native.is_none() {
                    tracing::debug!("{} is damaged", path.display());
                }
                native
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => None,
            Err(e) => {
                tracing::debug!("no native code from {}: {e}", path.display());
                None
            }
        }
    }

    /// Keeps code under this name, as well as the folder allows.
    pub(super) fn put(&self, name: &str, native: &[u8]) {
        if let Err(e) = self.write(name, native).and_then(|()| shrink(&self.folder, BYTES_MAX)) {
            tracing::debug!("native code is not kept in {}: {e}", self.folder.display());
        }
    }

    fn write(&self, name: &str, native: &[u8]) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
        is_ours(&fs::metadata(&self.folder)?)?;
        // A temporary name first, so that no other process reads half an entry. No fsync: after a power cut the digest says
        // whether all of it is there.
        let mut file = tempfile::NamedTempFile::new_in(&self.folder)?;
        file.write_all(&Sha256::digest(native))?;
        file.write_all(native)?;
        file.persist(self.folder.join(name))?;
        Ok(())
    }
}

/// Whoever can write here can have code run in our name.
fn is_ours(folder: &Metadata) -> io::Result<()> {
    // SAFETY: asks for a number.
    let user = unsafe { libc::geteuid() };
    match folder.uid() == user && folder.mode() & 0o022 == 0 {
        true => Ok(()),
        false => Err(io::Error::new(io::ErrorKind::PermissionDenied, "others may write to this folder")),
    }
}

/// The code of an entry, if it is what was written.
fn checked(mut bytes: Vec<u8>) -> Option<Vec<u8>> {
    let (digest, native) = bytes.split_at_checked(DIGEST)?;
    let whole = Sha256::digest(native)[..] == *digest;
    whole.then(|| bytes.split_off(DIGEST))
}

/// Removes the oldest files until the rest fits.
fn shrink(folder: &Path, bytes_max: u64) -> io::Result<()> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        // One that another process has just removed needs no place.
        if let Ok(metadata) = entry.metadata() {
            files.push((metadata.modified()?, metadata.len(), entry.path()));
        }
    }
    files.sort();
    let mut bytes: u64 = files.iter().map(|(_, len, _)| len).sum();
    for (_, len, path) in files {
        if bytes <= bytes_max {
            break;
        }
        fs::remove_file(path)?;
        bytes -= len;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    fn cache() -> (tempfile::TempDir, Cache) {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(folder.path().join("a/b"));
        (folder, cache)
    }

    #[test]
    fn what_is_put_is_got_and_only_the_user_may_see_it() {
        let (_folder, cache) = cache();
        assert_eq!(cache.get("x"), None);
        cache.put("x", b"code");
        assert_eq!(cache.get("x").as_deref(), Some(&b"code"[..]));
        assert_eq!(fs::metadata(&cache.folder).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(fs::read_dir(&cache.folder).unwrap().count(), 1, "no temporary file stays");
    }

    #[test]
    fn every_flipped_byte_and_every_cut_is_noticed() {
        let (_folder, cache) = cache();
        cache.put("x", b"code");
        let whole = fs::read(cache.folder.join("x")).unwrap();
        for i in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[i] ^= 1;
            fs::write(cache.folder.join("x"), flipped).unwrap();
            assert_eq!(cache.get("x"), None, "byte {i}");
            fs::write(cache.folder.join("x"), &whole[..i]).unwrap();
            assert_eq!(cache.get("x"), None, "cut at {i}");
        }
    }

    #[test]
    fn folder_that_others_may_write_to_is_no_cache() {
        let (_folder, cache) = cache();
        cache.put("x", b"code");
        fs::set_permissions(&cache.folder, fs::Permissions::from_mode(0o777)).unwrap();
        assert_eq!(cache.get("x"), None);
        cache.put("y", b"code");
        assert!(!cache.folder.join("y").exists());
    }

    #[test]
    fn oldest_entries_go_first() {
        let folder = tempfile::tempdir().unwrap();
        for (age, name) in ["old", "middle", "new"].iter().enumerate() {
            let path = folder.path().join(name);
            fs::write(&path, [0; 10]).unwrap();
            let file = fs::File::options().append(true).open(&path).unwrap();
            file.set_modified(UNIX_EPOCH + Duration::from_secs(age as u64)).unwrap();
        }
        shrink(folder.path(), 25).unwrap();
        assert!(!folder.path().join("old").exists() && folder.path().join("middle").exists());
        shrink(folder.path(), 10).unwrap();
        assert!(!folder.path().join("middle").exists() && folder.path().join("new").exists());
    }
}
