//! What happens to staged parts outside the data path: made durable before the manifest names them, renamed once the epoch
//! is committed, renamed again at restore, and swept when no commit ever named them. Deletes from positive lists only.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use weir_core::checkpoint::manifest::StagedPart;
use weir_core::ids::{Epoch, Name, Token};

use crate::{crash, durable, hex};

/// Where parts wait, below the sink's folder.
pub(super) const STAGING: &str = ".staging";

/// The final name of an epoch's part.
pub(super) fn part_name(epoch: Epoch) -> String {
    format!("part-{:020}.jsonl", epoch.0)
}

/// A part in the folder, where there is one.
pub(super) fn any_part(folder: &Path) -> std::io::Result<Option<String>> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if let Some(name) = entry.file_name().to_str().filter(|name| is_part(name))
            && entry.file_type()?.is_file()
        {
            return Ok(Some(name.to_owned()));
        }
    }
    Ok(None)
}

fn is_part(name: &str) -> bool {
    let digits = name.strip_prefix("part-").and_then(|rest| rest.strip_suffix(".jsonl"));
    digits.is_some_and(|digits| digits.len() == 20 && digits.bytes().all(|b| b.is_ascii_digit()))
}

/// The folders of a pipeline's file sinks.
#[derive(Debug, Clone, Default)]
pub struct Folders(BTreeMap<Name, PathBuf>);

impl Folders {
    /// Folders by sink.
    pub fn new(folders: BTreeMap<Name, PathBuf>) -> Folders {
        Folders(folders)
    }

    /// Whether the pipeline has no file sink.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A part of this epoch or of a later one, where there is one.
    pub fn part_from(&self, epoch: Epoch) -> std::io::Result<Option<PathBuf>> {
        for folder in self.0.values() {
            let Ok(entries) = std::fs::read_dir(folder) else { continue };
            for entry in entries {
                let name = entry?.file_name();
                // Names of parts are in the order of their epochs.
                if name.to_str().is_some_and(|name| is_part(name) && name >= part_name(epoch).as_str()) {
                    return Ok(Some(folder.join(name)));
                }
            }
        }
        Ok(None)
    }

    fn folder(&self, part: &StagedPart) -> std::io::Result<&Path> {
        self.0.get(&part.sink).map(PathBuf::as_path).ok_or_else(|| {
            std::io::Error::other(format!(
                "the snapshot holds a part of the file sink `{}`, which is not in the pipeline",
                part.sink
            ))
        })
    }

    /// Makes a part durable and notes its digest. Before the manifest that names it.
    pub fn complete(&self, part: &mut StagedPart) -> std::io::Result<()> {
        let staging = self.folder(part)?.join(STAGING);
        let mut file = File::open(staging.join(&part.staged))?;
        file.sync_all()?;
        let (sha256, bytes) = hex::sha256_of(&mut file)?;
        if bytes != part.bytes {
            let (staged, expected) = (&part.staged, part.bytes);
            return Err(std::io::Error::other(format!(
                "{staged} has {bytes} bytes, {expected} were written: another process writes here"
            )));
        }
        part.sha256 = sha256;
        durable::sync_folder(&staging)
    }

    /// Renames committed parts to their final names. Doing it again changes nothing.
    pub fn publish(&self, parts: &[StagedPart]) -> std::io::Result<()> {
        for part in parts {
            let folder = self.folder(part)?;
            let (from, to) = (folder.join(STAGING).join(&part.staged), folder.join(&part.published));
            match durable::rename_new(&from, &to) {
                Ok(()) => {
                    durable::sync_folder(folder)?;
                    crash::point("sink.part_renamed");
                }
                // Renamed by an attempt before this one; whoever reads the output may have moved it on since.
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
                Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {
                    return Err(std::io::Error::other(format!(
                        "{} is there already, and was not written by this pipeline and its state: two pipelines must not \
                         share a folder; move the old parts away",
                        to.display()
                    )));
                }
                Err(e) => {
                    return Err(std::io::Error::other(format!(
                        "cannot rename {} to {}: {e}",
                        from.display(),
                        to.display()
                    )));
                }
            }
        }
        Ok(())
    }

    /// Puts published parts of before a reset out of the way, into `.before-<epoch of the reset>/` of each sink's folder: they
    /// are the user's, so they are not deleted, and readers do not meet them among the new ones. Only while nothing was
    /// published since the reset. Doing it again changes nothing.
    pub fn set_aside(&self, reset: Epoch) -> std::io::Result<()> {
        for folder in self.0.values() {
            let Ok(entries) = std::fs::read_dir(folder) else { continue };
            let aside = folder.join(format!(".before-{:020}", reset.0));
            for entry in entries {
                let name = entry?.file_name();
                if name.to_str().is_some_and(is_part) {
                    std::fs::create_dir_all(&aside)?;
                    std::fs::rename(folder.join(&name), aside.join(&name))?;
                }
            }
            if aside.is_dir() {
                durable::sync_folder(&aside)?;
                durable::sync_folder(folder)?;
            }
        }
        Ok(())
    }

    /// Removes staged files of attempts before ours. The committed ones among them must have been published.
    pub fn sweep(&self, own: Token) -> std::io::Result<()> {
        for folder in self.0.values() {
            let Ok(entries) = std::fs::read_dir(folder.join(STAGING)) else { continue };
            for entry in entries {
                let entry = entry?;
                let name = entry.file_name();
                let token = name.to_str().and_then(|name| name.split_once('-')?.0.parse::<i64>().ok());
                if token.is_some_and(|token| Token(token) < own) {
                    std::fs::remove_file(entry.path())?;
                }
            }
        }
        Ok(())
    }
}
