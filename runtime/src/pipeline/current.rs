//! The authority `CURRENT`: one small file in the state folder that decides what is committed, for pipelines without a
//! Kafka sink. Swapped atomically and durably. Two owners cannot be: the folder's lock is held, and every swap first
//! checks that the file still holds what this process last saw.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use weir_core::checkpoint::commit::{Claim, Commit};
use weir_core::ids::Token;
use weir_core::key_group::hash;

use super::folder::Folder;
use crate::connector::{Authority, Error, Outcome, Peek, Resolved};
use crate::{crash, durable};

/// The version of `CURRENT` that this build writes, and the newest that it reads.
pub const VERSION: u32 = 1;

/// The authority of a pipeline whose sinks know no transaction.
#[derive(Debug)]
pub struct Current {
    path: PathBuf,
    /// What this process last read or wrote; the bytes as they lie on disk.
    seen: Option<Seen>,
    claimed: Option<Claimed>,
    marked: Option<Commit>,
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

/// The file without its check.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    version: u32,
    token: Token,
    claim: Option<Claim>,
    commit: Option<Commit>,
}

/// Read before anything else of the file is.
#[derive(Deserialize)]
struct Version {
    version: u32,
}

impl Current {
    /// Over the folder whose lock is held. Reads nothing yet.
    pub fn new(folder: &Folder) -> Current {
        Current { path: folder.current(), seen: None, claimed: None, marked: None }
    }

    /// What the file holds; the empty record where there is none.
    fn read(&self) -> Result<Seen, Error> {
        let bytes = match fs::read(&self.path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                return Ok(Seen { bytes: None, record: Record::default() });
            }
            Err(e) => return Err(Error::Transient(format!("reading {} failed: {e}", self.path.display()))),
        };
        let record = decode(&bytes).map_err(|detail| self.halt(&detail))?;
        Ok(Seen { bytes: Some(bytes), record })
    }

    fn halt(&self, detail: &str) -> Error {
        Error::Halt(format!("{} {detail}; nothing was changed", self.path.display()))
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
        record.version = VERSION;
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

const CHECK: &str = ",\"check\":\"";

/// The JSON, with the xxh3 of all before it as its last field: a flipped bit must not become another epoch.
fn encode(record: &Record) -> Result<Vec<u8>, Error> {
    let mut text =
        serde_json::to_string(record).map_err(|e| Error::Transient(format!("encoding CURRENT failed: {e}")))?;
    text.pop();
    let check = hash(text.as_bytes());
    text.push_str(&format!("{CHECK}{check:016x}\"}}\n"));
    Ok(text.into_bytes())
}

fn decode(bytes: &[u8]) -> Result<Record, String> {
    let damaged = |detail: &str| format!("is damaged: {detail}");
    let text = std::str::from_utf8(bytes).map_err(|_| damaged("it is not text"))?;
    if let Ok(Version { version }) = serde_json::from_str(text)
        && version > VERSION
    {
        return Err(format!("has format {version}, this weir reads up to {VERSION}: use the newer weir that wrote it"));
    }
    let (record, check) = text.rsplit_once(CHECK).ok_or_else(|| damaged("its check is missing"))?;
    if check != format!("{:016x}\"}}\n", hash(record.as_bytes())) {
        return Err(damaged("its check does not fit its content"));
    }
    serde_json::from_str(text).map_err(|e| damaged(&e.to_string()))
}

/// The token and commit that a folder's `CURRENT` holds, for commands that only look. Takes no lock.
pub fn look(folder: &Path) -> Result<Peek, Error> {
    let path = folder.join("CURRENT");
    let record = Current { path, seen: None, claimed: None, marked: None }.read()?.record;
    Ok(Peek { claim: record.claim, commit: record.commit })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use tempfile::{TempDir, tempdir};
    use weir_core::checkpoint::manifest::{CommitKind, SnapshotRef};
    use weir_core::ids::{Epoch, Name};

    use super::*;

    fn claim(nonce: &str) -> Claim {
        Claim {
            v: 1,
            nonce: nonce.into(),
            lineage: "l".into(),
            txn_ids: Vec::new(),
            host: "h".into(),
            boot_id: "b".into(),
            pid: 1,
            started_at: 0,
            build: "0".into(),
        }
    }

    fn commit(epoch: u64, token: Token) -> Commit {
        Commit {
            v: 1,
            kind: CommitKind::Checkpoint,
            lineage: "l".into(),
            epoch: Epoch(epoch),
            token,
            snapshot: Some(SnapshotRef { epoch: Epoch(epoch), token, sha256: "00".into() }),
            positions: BTreeMap::new(),
            at: 0,
        }
    }

    fn folder() -> (TempDir, Folder) {
        let dir = tempdir().unwrap();
        let folder = Folder::open(dir.path(), &Name::new("a").unwrap()).unwrap();
        (dir, folder)
    }

    fn start(folder: &Folder, nonce: &str) -> (Current, Resolved) {
        let mut current = Current::new(folder);
        current.fence(&[]).unwrap();
        assert!(matches!(current.claim(&claim(nonce)), Outcome::Committed { may_have_resent: false }));
        let resolved = current.resolve(nonce).unwrap();
        (current, resolved)
    }

    #[test]
    fn every_claim_gets_the_next_token_and_sees_the_newest_commit() {
        let (_dir, folder) = folder();
        let (mut first, resolved) = start(&folder, "n1");
        assert_eq!((resolved.token, resolved.commit, resolved.claim_before), (Token(1), None, None));
        first.begin().unwrap();
        first.mark(&commit(1, Token(1))).unwrap();
        assert_eq!(first.peek().unwrap().commit, None, "marked is not committed");
        assert!(matches!(first.commit(), Outcome::Committed { .. }));
        let (_, resolved) = start(&folder, "n2");
        assert_eq!((resolved.token, resolved.commit), (Token(2), Some(commit(1, Token(1)))));
        assert_eq!(resolved.claim_before, Some((Token(1), claim("n1"))));
    }

    #[test]
    fn an_older_attempt_cannot_commit_behind_a_newer_claim() {
        let (_dir, folder) = folder();
        let (mut old, _) = start(&folder, "old");
        old.mark(&commit(1, Token(1))).unwrap();
        let (mut new, _) = start(&folder, "new");
        assert!(matches!(old.commit(), Outcome::Unknown(_)));
        assert!(matches!(old.resolve("old"), Err(Error::Fenced(_))));
        assert_eq!(new.peek().unwrap().commit, None);
        new.mark(&commit(1, Token(2))).unwrap();
        assert!(matches!(new.commit(), Outcome::Committed { .. }));
    }

    #[test]
    fn a_changed_byte_or_a_newer_format_stops_everything() {
        let (_dir, folder) = folder();
        let (mut current, _) = start(&folder, "n");
        current.mark(&commit(7, Token(1))).unwrap();
        current.commit();
        let good = fs::read(folder.current()).unwrap();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            fs::write(folder.current(), &bad).unwrap();
            assert!(matches!(Current::new(&folder).peek(), Err(Error::Halt(_))), "byte {at}");
        }
        fs::write(folder.current(), "{\"version\":2}\n").unwrap();
        let error = Current::new(&folder).fence(&[]).unwrap_err().to_string();
        assert!(error.contains("has format 2"), "{error}");
    }

    #[test]
    fn nothing_is_committed_that_was_not_marked_under_the_own_token() {
        let (_dir, folder) = folder();
        let (mut current, _) = start(&folder, "n");
        assert!(matches!(current.commit(), Outcome::Unknown(_)));
        assert!(current.mark(&commit(1, Token(9))).is_err());
        assert!(matches!(current.commit(), Outcome::Unknown(_)));
    }

    #[test]
    fn the_bytes_are_pinned() {
        let record = Record { version: 1, token: Token(3), claim: None, commit: None };
        let text = String::from_utf8(encode(&record).unwrap()).unwrap();
        assert_eq!(
            text,
            r#"{"version":1,"token":3,"claim":null,"commit":null,"check":"2b9b30802a28823e"}"#.to_owned() + "\n"
        );
    }
}
