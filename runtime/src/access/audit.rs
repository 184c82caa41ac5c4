//! The audit log of a server, `DIR/audit.jsonl`: one line of JSON for each change, durable before the change is made, so that
//! there is no change without a line. Each line holds the digest of the one before it. Appends and checks; never changes a line.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Actor;
use crate::{clock, durable, hex};

/// What stands before the first line.
const NOTHING: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// One change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// Its number, from 1.
    pub seq: u64,
    /// When, in RFC 3339.
    pub at: String,
    /// The name of the token.
    pub who: String,
    /// The address that it came from.
    pub from: Option<String>,
    /// The request that it came with.
    pub request: Option<String>,
    /// What was done: `operator.put`, `pipeline.apply`, and so on.
    pub action: String,
    /// To what: `ip-count@1.0.0`, `ip-count`.
    pub subject: String,
    /// What else there is to say: the digest of an operator, the revision of a pipeline.
    pub detail: Value,
    /// sha256 of the line before this one, without its end.
    pub prev: String,
}

/// See the module.
#[derive(Debug)]
pub struct Audit {
    path: PathBuf,
    log: Mutex<Log>,
    /// The first line that does not follow from the one before it, as the start found it.
    broken_at: Option<u64>,
}

#[derive(Debug)]
struct Log {
    file: File,
    bytes: u64,
    seq: u64,
    last: String,
}

impl Audit {
    /// Opens or makes the log, and checks all of it. A last line that a kill cut off belongs to a change that was never made,
    /// and is cut off.
    pub fn open(path: &Path) -> io::Result<Audit> {
        let is_new = !path.exists();
        let mut file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)?;
        if is_new {
            durable::sync_folder(path.parent().unwrap_or(Path::new(".")))?;
        }
        let (mut bytes, mut seq, mut last, mut broken_at) = (0, 0, NOTHING.to_owned(), None);
        let mut reader = BufReader::new(&file);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line)? > 0 && line.last() == Some(&b'\n') {
            bytes += line.len() as u64;
            line.pop();
            seq += 1;
            let follows = serde_json::from_slice::<Line>(&line).is_ok_and(|read| read.seq == seq && read.prev == last);
            if !follows && broken_at.is_none() {
                tracing::error!(
                    "{}: line {seq} does not follow from the one before it: somebody has changed this log",
                    path.display()
                );
                broken_at = Some(seq);
            }
            last = hex::sha256(&line);
            line.clear();
        }
        if !line.is_empty() {
            tracing::warn!("{}: a last line without its end is cut off: its change was never made", path.display());
            file.set_len(bytes)?;
            file.sync_all()?;
        }
        file.seek(SeekFrom::End(0))?;
        Ok(Audit { path: path.to_owned(), log: Mutex::new(Log { file, bytes, seq, last }), broken_at })
    }

    /// Notes a change that is about to be made. When it returns, the line survives a power cut.
    pub fn note(&self, actor: &Actor, action: &str, subject: &str, detail: Value) -> io::Result<()> {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let line = Line {
            seq: log.seq + 1,
            at: clock::rfc3339(clock::now_millis()),
            who: actor.name.clone(),
            from: actor.from.clone(),
            request: actor.request.clone(),
            action: action.to_owned(),
            subject: subject.to_owned(),
            detail,
            prev: log.last.clone(),
        };
        let mut text = serde_json::to_vec(&line).map_err(io::Error::other)?;
        let digest = hex::sha256(&text);
        text.push(b'\n');
        let written = log.file.write_all(&text).and_then(|()| log.file.sync_data());
        if let Err(error) = written {
            // Half a line would make the next one unreadable. Where that fails too, the next start cuts it off.
            let _ = log.file.set_len(log.bytes);
            return Err(io::Error::new(error.kind(), format!("{}: {error}", self.path.display())));
        }
        (log.bytes, log.seq, log.last) = (log.bytes + text.len() as u64, line.seq, digest);
        drop(log);
        // For whoever reads along: what is about to happen, and who wanted it.
        let Line { who, action, subject, detail, .. } = line;
        tracing::info!("{action} {subject}, by {who}: {detail}");
        Ok(())
    }

    /// At most `limit` lines behind number `after`, oldest first.
    pub fn read(&self, after: u64, limit: usize) -> io::Result<Vec<Line>> {
        // Whole lines only: nobody appends beyond what was counted while this reads.
        let bytes = self.log.lock().unwrap_or_else(PoisonError::into_inner).bytes;
        let reader = BufReader::new(File::open(&self.path)?.take(bytes));
        let behind = reader.lines().skip(usize::try_from(after).unwrap_or(usize::MAX)).take(limit);
        behind.map(|line| serde_json::from_str(&line?).map_err(io::Error::other)).collect()
    }

    /// At most `limit` lines before number `before`, or at the end, newest first.
    pub fn read_newest(&self, before: Option<u64>, limit: usize) -> io::Result<Vec<Line>> {
        let newest = self.log.lock().unwrap_or_else(PoisonError::into_inner).seq;
        let last = before.map_or(newest, |before| newest.min(before.saturating_sub(1)));
        let most = last.min(limit as u64);
        let mut lines = self.read(last - most, most as usize)?;
        lines.reverse();
        Ok(lines)
    }

    /// The first line that somebody has changed, if any.
    pub fn broken_at(&self) -> Option<u64> {
        self.broken_at
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn filled(path: &Path) -> Audit {
        let audit = Audit::open(path).unwrap();
        for number in 1..=3 {
            audit.note(&Actor::server(), "pipeline.apply", "a", json!({"revision": number})).unwrap();
        }
        audit
    }

    #[test]
    fn lines_are_kept_in_order_and_go_on_behind_a_new_start() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.jsonl");
        drop(filled(&path));
        let audit = filled(&path);
        assert_eq!(audit.broken_at(), None);
        let revisions: Vec<u64> =
            audit.read(2, 3).unwrap().iter().map(|l| l.detail["revision"].as_u64().unwrap()).collect();
        assert_eq!(revisions, [3, 1, 2]);
        assert_eq!(audit.read(0, 100).unwrap().last().unwrap().seq, 6);
        let newest = |before, limit| -> Vec<u64> {
            audit.read_newest(before, limit).unwrap().iter().map(|line| line.seq).collect()
        };
        assert_eq!((newest(None, 2), newest(Some(5), 2), newest(Some(3), 9)), (vec![6, 5], vec![4, 3], vec![2, 1]));
        assert_eq!((newest(Some(1), 9), newest(Some(99), 1)), (vec![], vec![6]));
    }

    #[test]
    fn a_line_that_was_changed_or_taken_out_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.jsonl");
        drop(filled(&path));
        let whole = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, whole.replacen("\"weir\"", "\"else\"", 1)).unwrap();
        assert_eq!(Audit::open(&path).unwrap().broken_at(), Some(2));
        let without_second: String =
            whole.lines().enumerate().filter(|(i, _)| *i != 1).map(|(_, l)| format!("{l}\n")).collect();
        std::fs::write(&path, without_second).unwrap();
        assert_eq!(Audit::open(&path).unwrap().broken_at(), Some(2));
    }

    #[test]
    fn a_line_that_a_kill_cut_off_is_nobodys_and_the_next_one_follows_the_whole_ones() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.jsonl");
        drop(filled(&path));
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, &whole[..whole.len() - 10]).unwrap();
        let audit = filled(&path);
        assert_eq!(audit.broken_at(), None);
        assert_eq!(audit.read(0, 100).unwrap().len(), 5);
        drop(audit);
        assert_eq!(Audit::open(&path).unwrap().broken_at(), None);
    }
}
