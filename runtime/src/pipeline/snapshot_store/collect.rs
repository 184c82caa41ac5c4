//! Deleting snapshots: only what a list names. Manifests being retired with the files that nobody else names, and orphans
//! of dead attempts; never "everything but".

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;

use weir_core::checkpoint::manifest::{Manifest, StateFiles};
use weir_core::ids::{Epoch, Token};

use super::{COMMITTED, Error, MANIFEST, SnapshotStore, TEMPORARY};
use crate::crash;
use crate::state::{list_dir, parse_stored, parse_temporary};

/// What went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Removed {
    /// Folders of snapshots.
    pub snapshots: usize,
    /// State files.
    pub files: usize,
}

impl SnapshotStore {
    /// Removes retired snapshots, and those of their files that neither a kept one nor `in_use` (what the database will
    /// name next) names.
    pub fn retire(&self, dropped: &[Manifest], kept: &[Manifest], in_use: &StateFiles) -> Result<Removed, Error> {
        let keep: BTreeSet<(Epoch, Token)> = kept.iter().map(|m| (m.epoch, m.token)).collect();
        let needed = names(kept, in_use);
        let mut collector = Collector::default();
        let dropped = dropped.iter().filter(|m| !keep.contains(&(m.epoch, m.token)));
        let mut candidates = BTreeSet::new();
        // Order: a manifest goes before its files. If we die between the two, the files are orphans with our token, which
        // the next start collects; the other way round, a manifest would name what is gone.
        for manifest in dropped {
            self.remove_folder(manifest.epoch, manifest.token, &mut collector)?;
            candidates.extend(manifest.files().map(|f| f.stored.as_str()));
        }
        for name in candidates.difference(&needed) {
            collector.file(&self.files.join(name))?;
        }
        Ok(collector.done())
    }

    /// Removes what dead attempts left behind: snapshots and files whose token is below `own` and which no kept manifest
    /// names, temporary ones too. What bears another kind of name, or a token from `own` on, is left alone.
    pub fn sweep(&self, own: Token, kept: &[Manifest]) -> Result<Removed, Error> {
        let keep: BTreeSet<(Epoch, Token)> = kept.iter().map(|m| (m.epoch, m.token)).collect();
        let none = StateFiles::default();
        let needed = names(kept, &none);
        let mut collector = Collector::default();
        for (epoch, token) in self.folders()? {
            if token < own && !keep.contains(&(epoch, token)) {
                self.remove_folder(epoch, token, &mut collector)?;
            }
        }
        for name in list_dir(&self.files)? {
            let token = parse_stored(&name).map(|(token, _)| token).or_else(|| parse_temporary(&name));
            if token.is_some_and(|token| token < own) && !needed.contains(name.as_str()) {
                collector.file(&self.files.join(&name))?;
            }
        }
        Ok(collector.done())
    }

    pub(super) fn remove_folder(&self, epoch: Epoch, token: Token, collector: &mut Collector) -> Result<(), Error> {
        let dir = self.folder(epoch, token);
        for name in [MANIFEST, TEMPORARY, COMMITTED] {
            collector.unlink(&dir.join(name))?;
        }
        match fs::remove_dir(&dir) {
            // Something that is not ours stays, and so does its folder.
            Err(e) if !matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::DirectoryNotEmpty) => {
                Err(Error::fatal("removing", &dir, e))
            }
            _ => {
                collector.removed.snapshots += 1;
                Ok(())
            }
        }
    }
}

/// Counts what goes.
#[derive(Default)]
pub(super) struct Collector {
    removed: Removed,
    unlinked: bool,
}

impl Collector {
    pub(super) fn file(&mut self, path: &Path) -> Result<(), Error> {
        self.removed.files += usize::from(self.unlink(path)?);
        Ok(())
    }

    /// Whether it was there.
    fn unlink(&mut self, path: &Path) -> Result<bool, Error> {
        match fs::remove_file(path) {
            Ok(()) => {
                if !self.unlinked {
                    self.unlinked = true;
                    crash::point("gc.first_unlink");
                }
                Ok(true)
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(Error::fatal("removing", path, e)),
        }
    }

    pub(super) fn done(self) -> Removed {
        crash::point("gc.done");
        self.removed
    }
}

fn names<'a>(kept: &'a [Manifest], in_use: &'a StateFiles) -> BTreeSet<&'a str> {
    let in_use = in_use.base.values().chain(&in_use.deltas);
    kept.iter().flat_map(Manifest::files).chain(in_use).map(|f| f.stored.as_str()).collect()
}
