//! The authority `CURRENT`: one small file in the state folder that decides what is committed, for pipelines without a
//! Kafka sink. Swapped atomically and durably. Two owners cannot be: the folder's lock is held, and every swap first
//! checks that the file still holds what this process last saw.

mod record;

use std::path::{Path, PathBuf};

use weir_core::checkpoint::commit::{Claim, Commit};
use weir_core::checkpoint::manifest::SnapshotRef;
use weir_core::ids::Token;

use self::record::{Record, encode, halt};
use super::folder::Folder;
use super::snapshot_store::SnapshotStore;
use crate::connector::{Authority, Error, Outcome, Peek, Resolved};
use crate::{crash, durable};

/// The authority of a pipeline whose sinks know no transaction.
#[derive(Debug)]
pub struct Current {
    path: PathBuf,
    store: SnapshotStore,
    /// The user throws the state away: a `CURRENT` that is gone is no loss.
    is_reset: bool,
    /// What this process last read or wrote; the bytes as they lie on disk.
    seen: Option<Seen>,
    claimed: Option<Claimed>,
    marked: Option<Commit>,
}

/// The snapshot that the file at `path` names as the newest committed one, for displays. Touches nothing.
pub fn named(path: &Path) -> Result<Option<SnapshotRef>, Error> {
    Ok(record::read(path)?.and_then(|(_, record)| record.commit?.snapshot))
}

#[derive(Debug)]
struct Seen {
    bytes: Option<Vec<u8>>,
    record: Record,
}

#[derive(Debug)]
struct Claimed {
    token: Token,
    nonce: String,
    before: Option<(Token, Claim)>,
}

impl Current {
    /// Over the folder whose lock is held. Reads nothing yet.
    pub fn new(folder: &Folder, store: &SnapshotStore, is_reset: bool) -> Current {
        let store = store.clone();
        Current { path: folder.current(), store, is_reset, seen: None, claimed: None, marked: None }
    }

    fn read(&self) -> Result<Seen, Error> {
        match record::read(&self.path)? {
            Some((bytes, record)) => Ok(Seen { bytes: Some(bytes), record }),
            None => self.absent().map(|record| Seen { bytes: None, record }),
        }
    }

    /// The first claim makes the file before anything has a token in its name. So where the store holds such a name, the
    /// file was there and is lost, and with it what is committed: that is no first start.
    fn absent(&self) -> Result<Record, Error> {
        let newest = self.store.newest_token().map_err(|e| Error::Transient(e.to_string()))?;
        match newest {
            None => Ok(Record::default()),
            // The next claim stands above everything that is there.
            Some(token) if self.is_reset => Ok(Record { token, ..Record::default() }),
            Some(_) => {
                let detail = "is missing, and there are snapshots of which it says what is committed: bring it back from a \
                              backup; to throw the state away instead: --from empty --rewind";
                Err(halt(&self.path, detail))
            }
        }
    }

    /// Replaces what was last seen. Fails if that is no longer what the file holds.
    fn swap(&mut self, change: impl FnOnce(&mut Record)) -> Result<(), Error> {
        let Some(seen) = &self.seen else {
            return Err(Error::Transient("CURRENT is swapped before it was read".into()));
        };
        let found = self.read()?;
        if found.bytes != seen.bytes {
            return Err(Error::Fenced(format!("another process has changed {}", self.path.display())));
        }
        let mut record = found.record;
        change(&mut record);
        record.version = record::VERSION;
        let bytes = encode(&record)?;
        let written = durable::write(&self.path, &bytes);
        written.map_err(|e| Error::Transient(format!("writing {} failed: {e}", self.path.display())))?;
        crash::point("current.swapped");
        self.seen = Some(Seen { bytes: Some(bytes), record });
        Ok(())
    }

    fn claimed(&self) -> Result<&Claimed, Error> {
        self.claimed.as_ref().ok_or_else(|| Error::Transient("CURRENT is used before it was claimed".into()))
    }
}

impl Authority for Current {
    fn peek(&mut self) -> Result<Peek, Error> {
        let Record { claim, commit, .. } = self.read()?.record;
        Ok(Peek { claim, commit })
    }

    /// The lock of the folder is the fence: an older attempt is a dead process.
    fn fence(&mut self, _ids: &[String]) -> Result<(), Error> {
        self.claimed = None;
        self.marked = None;
        self.seen = Some(self.read()?);
        crash::point("fence.done");
        Ok(())
    }

    fn claim(&mut self, claim: &Claim) -> Outcome {
        let Some(Seen { record, .. }) = &self.seen else {
            return Outcome::Unknown("CURRENT is claimed before it is fenced".into());
        };
        let before = record.claim.clone().map(|claim| (record.token, claim));
        let token = Token(record.token.0 + 1);
        let swapped = self.swap(|record| {
            record.token = token;
            record.claim = Some(claim.clone());
        });
        match swapped {
            Ok(()) => {
                self.claimed = Some(Claimed { token, nonce: claim.nonce.clone(), before });
                Outcome::Committed { may_have_resent: false }
            }
            Err(error) => Outcome::Unknown(error.to_string()),
        }
    }

    fn resolve(&mut self, nonce: &str) -> Result<Resolved, Error> {
        let found = self.read()?.record;
        let Claimed { token, nonce: own, before } = self.claimed()?;
        if own != nonce || found.claim.is_none_or(|claim| claim.nonce != nonce) {
            return Err(Error::Fenced(format!("another process has claimed {}", self.path.display())));
        }
        Ok(Resolved { token: *token, commit: found.commit, claim_before: before.clone(), claim_above: false })
    }

    fn begin(&mut self) -> Result<(), Error> {
        self.claimed().map(drop)
    }

    /// Rows of other sinks are part of the snapshot: nothing is under way here.
    fn flush(&mut self) -> Result<(), Error> {
        Ok(())
    }

    fn mark(&mut self, commit: &Commit) -> Result<(), Error> {
        let own = self.claimed()?.token;
        if commit.token != own {
            return Err(Error::Transient(format!("a commit of token {} is marked under token {own}", commit.token)));
        }
        self.marked = Some(commit.clone());
        Ok(())
    }

    fn commit(&mut self) -> Outcome {
        let Some(commit) = self.marked.take() else {
            return Outcome::Unknown("nothing was marked to be committed".into());
        };
        match self.swap(|record| record.commit = Some(commit)) {
            Ok(()) => Outcome::Committed { may_have_resent: false },
            Err(error) => Outcome::Unknown(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests;
