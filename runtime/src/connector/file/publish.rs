//! What happens to staged parts outside the data path: made durable before the manifest names them, renamed once the epoch
//! is committed, renamed again at restore, and swept when no commit ever named them. Deletes from positive lists only.

use std::fs::File;
use std::path::Path;

use weir_core::checkpoint::manifest::StagedPart;
use weir_core::ids::{Epoch, Token};

use super::folders::{Folders, NEWEST};
use crate::{crash, durable, hex};

/// Where parts wait, below the sink's folder.
pub(super) const STAGING: &str = ".staging";

/// The final name of an epoch's part.
pub(super) fn part_name(epoch: Epoch) -> String {
    format!("part-{:020}.jsonl", epoch.0)
}

/// A part in the folder, where there is one.
pub fn any_part(folder: &Path) -> std::io::Result<Option<String>> {
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

pub(super) fn is_part(name: &str) -> bool {
    let digits = name.strip_prefix("part-").and_then(|rest| rest.strip_suffix(".jsonl"));
    digits.is_some_and(|digits| digits.len() == 20 && digits.bytes().all(|b| b.is_ascii_digit()))
}

impl Folders {
    pub(super) fn folder(&self, part: &StagedPart) -> std::io::Result<&Path> {
        self.folders.get(&part.sink).map(std::path::PathBuf::as_path).ok_or_else(|| {
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

    /// Renames committed parts of the snapshot `id` to their final names. Doing it again changes nothing.
    pub fn publish(&self, parts: &[StagedPart], id: &str) -> std::io::Result<()> {
        self.rename(parts)?;
        if !parts.is_empty() {
            // Lost in a crash or on a full disk, it only makes the next start look for the parts.
            let _ = std::fs::write(&self.note, id);
        }
        Ok(())
    }

    fn rename(&self, parts: &[StagedPart]) -> std::io::Result<()> {
        for part in parts {
            let folder = self.folder(part)?;
            let (from, to) = (folder.join(STAGING).join(&part.staged), folder.join(&part.published));
            match durable::rename_new(&from, &to) {
                Ok(()) => {
                    durable::sync_folder(folder)?;
                    // Lost in a crash, it only lets an older copy of the state pass for the newest.
                    let epoch = part.published.trim_start_matches("part-").trim_end_matches(".jsonl");
                    let _ = std::fs::write(folder.join(STAGING).join(NEWEST), epoch);
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
        for folder in self.folders.values() {
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
        for folder in self.folders.values() {
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
