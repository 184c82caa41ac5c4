//! The content-addressed files of a store, `files/<token>-<sha256>`: written on this machine under a temporary name, hashed,
//! and taken in by the store; and checked before anything is restored from them. Never deletes one that has its name.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use sha2::{Digest, Sha256};
use weir_core::checkpoint::manifest::{FileRef, StateFiles};
use weir_core::ids::Token;

use super::Error;
use crate::hex;
use crate::storage::{self, Storage};

/// Where state files lie in a store.
pub const FILES: &str = "files";

/// What a stored file is called in messages.
const STATE_FILE: &str = "state file";

/// Bytes of a stored file that are read at a time.
const PIECE: u64 = 1 << 20;
/// Threads that check the files of a snapshot beside each other.
const VERIFIERS: usize = 2;

/// The name of a state file in its store.
pub fn stored_name(file: &FileRef) -> String {
    format!("{FILES}/{}", file.stored)
}

/// The files of one attempt. Everything that it writes carries its token, so that a later attempt knows whose it is.
#[derive(Debug)]
pub(super) struct Files {
    storage: Arc<dyn Storage>,
    token: Token,
    temporary: u64,
}

impl Files {
    pub(super) fn new(storage: Arc<dyn Storage>, token: Token) -> Files {
        Files { storage, token, temporary: 0 }
    }

    /// A name that nothing has yet. Collected by its token if we die.
    pub(super) fn temporary(&mut self) -> PathBuf {
        self.temporary += 1;
        self.storage.staging().join(format!("{}-tmp-{}", self.token, self.temporary))
    }

    /// Gives a stored file a path outside of the store. Nobody changes what lies there.
    pub(super) fn bring_out(&self, file: &FileRef, to: &Path) -> Result<(), Error> {
        Ok(self.storage.bring_out(&stored_name(file), to)?)
    }

    /// The same for one that will be changed.
    pub(super) fn copy_out(&self, file: &FileRef, to: &Path) -> Result<(), Error> {
        let bytes = self.storage.get(&stored_name(file))?;
        fs::write(to, bytes).map_err(|e| Error::write("placing", to, e))
    }

    /// What a stored file is called in messages.
    pub(super) fn place(&self, file: &FileRef) -> PathBuf {
        self.storage.place(&stored_name(file))
    }

    /// Gives a temporary file its name: hashed and durable. The name is made durable by [`Files::sync`]. Whatever happens,
    /// the temporary name is gone afterwards.
    pub(super) fn keep(&self, temporary: &Path) -> Result<FileRef, Error> {
        let kept = self.name(temporary);
        if kept.is_err() {
            let _ = fs::remove_file(temporary);
        }
        kept
    }

    fn name(&self, temporary: &Path) -> Result<FileRef, Error> {
        let hashed = File::open(temporary).and_then(|mut file| hex::sha256_of(&mut file));
        let (sha256, bytes) = hashed.map_err(|e| Error::fatal("reading back", temporary, e))?;
        let file = FileRef { stored: format!("{}-{sha256}", self.token), bytes, sha256 };
        let name = stored_name(&file);
        if self.storage.length(&name)?.is_some() {
            // This attempt stored the same content before (mostly: a delta that became a table of the base).
            fs::remove_file(temporary).map_err(|e| Error::write("removing", temporary, e))?;
            return Ok(file);
        }
        self.storage.adopt(temporary, &name)?;
        Ok(file)
    }

    /// Stores a file of the live database that will never change, by a second link to it.
    pub(super) fn link(&mut self, from: &Path) -> Result<FileRef, Error> {
        let temporary = self.temporary();
        fs::hard_link(from, &temporary).map_err(|e| Error::write("linking", from, e))?;
        self.keep(&temporary)
    }

    /// Stores a file of the live database that may change, by a copy.
    pub(super) fn copy(&mut self, from: &Path) -> Result<FileRef, Error> {
        let temporary = self.temporary();
        if let Err(e) = fs::copy(from, &temporary) {
            let _ = fs::remove_file(&temporary);
            return Err(Error::write("copying", from, e));
        }
        self.keep(&temporary)
    }

    /// Makes the names durable.
    pub(super) fn sync(&self) -> Result<(), Error> {
        Ok(self.storage.sync(FILES)?)
    }
}

/// The names in a folder of this machine, sorted.
pub(crate) fn list_dir(dir: &Path) -> Result<Vec<String>, Error> {
    let failed = |e| Error::fatal("listing", dir, e);
    let mut names = Vec::new();
    for entry in fs::read_dir(dir).map_err(failed)? {
        names.push(entry.map_err(failed)?.file_name().to_string_lossy().into_owned());
    }
    names.sort_unstable();
    Ok(names)
}

/// Files of a snapshot that were all there, with the right length and digest. Only [`verify`] makes one, and only from one
/// can a database be restored.
#[derive(Debug, Clone)]
pub struct VerifiedFiles(StateFiles);

impl VerifiedFiles {
    /// What was verified.
    pub fn files(&self) -> &StateFiles {
        &self.0
    }
}

/// Checks every file of a snapshot, before anything is restored from one of them. Changes nothing.
pub fn verify(storage: &dyn Storage, files: &StateFiles) -> Result<VerifiedFiles, Error> {
    let all: Vec<&FileRef> = files.base.values().chain(&files.deltas).collect();
    let (next, failed) = (AtomicUsize::new(0), Mutex::new(None::<(usize, Error)>));
    let check = || {
        while let at = next.fetch_add(1, Ordering::Relaxed)
            && let Some(file) = all.get(at)
        {
            if let Err(error) = verify_file(storage, file) {
                let mut failed = failed.lock().unwrap_or_else(PoisonError::into_inner);
                // Of several the first one is told, whoever came to it.
                if failed.as_ref().is_none_or(|(before, _)| at < *before) {
                    *failed = Some((at, error));
                }
                return;
            }
        }
    };
    thread::scope(|scope| {
        for _ in 1..VERIFIERS.min(all.len()) {
            // Without a thread more it takes longer.
            let _ = thread::Builder::new().name("verify".to_owned()).spawn_scoped(scope, check);
        }
        check();
    });
    if let Some((_, error)) = failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Err(error);
    }
    if let Some(name) = files.base.keys().find(|name| name.contains('/') || name.starts_with('.')) {
        return Err(Error::Damaged {
            what: STATE_FILE,
            path: storage.place(FILES).join(name),
            detail: "not a name of RocksDB's".into(),
        });
    }
    Ok(VerifiedFiles(files.clone()))
}

/// Checks one file of a store: its name, its length, its digest. Changes nothing.
pub fn verify_file(storage: &dyn Storage, file: &FileRef) -> Result<(), Error> {
    let name = stored_name(file);
    let damaged = |detail| Error::Damaged { what: STATE_FILE, path: storage.place(&name), detail };
    if parse_stored(&file.stored).is_none_or(|(_, digest)| digest != file.sha256) {
        return Err(damaged("the manifest gives it a name that no weir gives".into()));
    }
    let missing = || Error::Missing { what: STATE_FILE, path: storage.place(&name) };
    let bytes = storage.length(&name)?.ok_or_else(missing)?;
    if bytes != file.bytes {
        return Err(damaged(format!("it has {bytes} bytes, {} were written", file.bytes)));
    }
    let (mut hasher, mut at) = (Sha256::new(), 0);
    while at < bytes {
        let piece = match storage.get_range(&name, at..at + PIECE) {
            Err(storage::Error::Missing(_)) => return Err(missing()),
            piece => piece?,
        };
        if piece.is_empty() {
            break;
        }
        hasher.update(&piece);
        at += piece.len() as u64;
    }
    let sha256 = hex::encode(&hasher.finalize());
    if sha256 != file.sha256 {
        return Err(damaged(format!("its sha256 is {sha256}")));
    }
    Ok(())
}

/// Token and digest of a stored file's name, or `None` if it is no such name.
pub(crate) fn parse_stored(name: &str) -> Option<(Token, &str)> {
    let (token, digest) = name.split_once('-')?;
    let is_digest = digest.len() == 64 && digest.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    Some((parse_token(token)?, digest)).filter(|_| is_digest)
}

/// Token of a temporary file's name, or `None` if it is no such name.
pub(crate) fn parse_temporary(name: &str) -> Option<Token> {
    let (token, rest) = name.split_once("-tmp-")?;
    rest.bytes().all(|b| b.is_ascii_digit()).then_some(parse_token(token)?)
}

/// A token as we write it: digits only.
pub(crate) fn parse_token(text: &str) -> Option<Token> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok().map(Token)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_we_give_are_taken_for_ours() {
        let digest = hex::sha256(b"x");
        assert_eq!(parse_stored(&format!("7-{digest}")), Some((Token(7), &digest[..])));
        assert_eq!(parse_temporary("7-tmp-3"), Some(Token(7)));
        let upper = format!("7-{}", digest.to_uppercase());
        for name in ["", "7", "7-", "7-abc", "-1-", &format!("-7-{digest}"), &format!("x-{digest}"), &upper] {
            assert_eq!(parse_stored(name), None, "{name}");
        }
        for name in ["", "7-tmp-", "x-tmp-1", "7-tmp-1x", "+7-tmp-1"] {
            assert_eq!(parse_temporary(name).filter(|_| name != "7-tmp-"), None, "{name}");
        }
    }
}
