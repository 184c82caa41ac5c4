//! Which snapshots are kept and which files go: only ever from a positive list (I5). Owns the list; deletes nothing itself.
//!
//! A zombie may carry out its list at any later time. So the list holds nothing but names that carry a token below the
//! zombie's own, or its own: whatever a successor restores was already on the kept side when the list was made, and whatever
//! a successor writes has a higher token.

use std::collections::{BTreeMap, BTreeSet};

use super::{Class, End, Go, Inventory, Retire, Settings, Stored};
use crate::checkpoint::commit::Commit;
use crate::checkpoint::manifest::SnapshotRef;
use crate::ids::{Epoch, Token};

/// Snapshots that may have to be kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct Shelf {
    /// Committed ones, oldest first.
    kept: Vec<Entry>,
    /// Ours, durable, of an epoch that was cancelled: they go with the next commit, when it is known what it shares.
    loose: Vec<Entry>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Entry {
    epoch: Epoch,
    token: Token,
    files: Vec<String>,
    pinned: bool,
}

impl Shelf {
    /// What the store holds at RESTORE: keeps the newest COMMIT's snapshot and older ones up to `retain`, and lists all the
    /// rest whose token is below `token` as orphans.
    ///
    /// Of several snapshots of one epoch the one with the highest token is the committed one, if any is: an attempt starts
    /// above the newest commit, so after a commit of n nobody prepares n again.
    pub(super) fn stock(
        inventory: Inventory,
        committed: Option<&SnapshotRef>,
        token: Token,
        settings: &Settings,
    ) -> (Shelf, Retire) {
        let mut newest_of: BTreeMap<Epoch, Token> = BTreeMap::new();
        for stored in &inventory.manifests {
            if committed.is_some_and(|committed| stored.epoch < committed.epoch) {
                let newest = newest_of.entry(stored.epoch).or_insert(stored.token);
                *newest = stored.token.max(*newest);
            }
        }
        if let Some(committed) = committed {
            newest_of.insert(committed.epoch, settings.name_token(committed.token));
        }
        let retained: BTreeSet<(Epoch, Token)> = if settings.rules.positive_list {
            newest_of.into_iter().rev().take(settings.retain.max(1)).collect()
        } else {
            newest_of.into_iter().rev().take(1).collect()
        };
        let (kept, orphans): (Vec<Stored>, Vec<Stored>) = inventory
            .manifests
            .into_iter()
            .partition(|stored| stored.pinned || retained.contains(&(stored.epoch, stored.token)));
        let mut kept: Vec<Entry> = kept.into_iter().map(Entry::from).collect();
        kept.sort_by_key(|entry| (entry.epoch, entry.token));

        let is_orphan = |of: Token| (of < token && settings.rules.token_names) || !settings.rules.positive_list;
        let used = used(&kept);
        let retire = Retire {
            manifests: orphans
                .iter()
                .map(|stored| (stored.epoch, stored.token))
                .chain(inventory.unfinished)
                .filter(|(_, of)| is_orphan(*of))
                .collect(),
            files: inventory
                .files
                .iter()
                .filter(|name| !used.contains(name.as_str()) && file_token(name).is_some_and(is_orphan))
                .cloned()
                .collect(),
        };
        (Shelf { kept, loose: Vec::new() }, retire)
    }

    /// A snapshot of ours became durable after its epoch was cancelled.
    pub(super) fn add_loose(&mut self, snapshot: &SnapshotRef, files: Vec<String>) {
        self.loose.push(Entry { epoch: snapshot.epoch, token: snapshot.token, files, pinned: false });
    }

    /// A snapshot was committed: keeps it, and lists what falls off the shelf. Files that a kept snapshot shares stay.
    pub(super) fn commit(&mut self, snapshot: &SnapshotRef, files: Vec<String>, retain: usize) -> Retire {
        self.kept.push(Entry { epoch: snapshot.epoch, token: snapshot.token, files, pinned: false });
        let mut leaving = std::mem::take(&mut self.loose);
        let mut room = retain.max(1);
        for entry in std::mem::take(&mut self.kept).into_iter().rev() {
            if entry.pinned {
                self.kept.push(entry);
            } else if room > 0 {
                room -= 1;
                self.kept.push(entry);
            } else {
                leaving.push(entry);
            }
        }
        self.kept.reverse();
        self.retire(leaving)
    }

    /// Takes one off before its time. `None`: it is not there. Files that another one needs stay, also one that is not
    /// committed yet, whose files are `pending`.
    pub(super) fn remove(&mut self, id: (Epoch, Token), pending: &[String]) -> Option<Retire> {
        let at = self.kept.iter().position(|entry| (entry.epoch, entry.token) == id)?;
        let entry = self.kept.remove(at);
        let mut retire = self.retire(vec![entry]);
        let loose = used(&self.loose);
        retire.files.retain(|name| !loose.contains(name.as_str()) && !pending.contains(name));
        Some(retire)
    }

    fn retire(&self, leaving: Vec<Entry>) -> Retire {
        let used = used(&self.kept);
        let files: BTreeSet<&String> =
            leaving.iter().flat_map(|entry| &entry.files).filter(|name| !used.contains(name.as_str())).collect();
        Retire {
            manifests: leaving.iter().map(|entry| (entry.epoch, entry.token)).collect(),
            files: files.into_iter().cloned().collect(),
        }
    }
}

impl From<Stored> for Entry {
    fn from(stored: Stored) -> Entry {
        Entry { epoch: stored.epoch, token: stored.token, files: stored.files, pinned: stored.pinned }
    }
}

fn used(entries: &[Entry]) -> BTreeSet<&str> {
    entries.iter().flat_map(|entry| &entry.files).map(String::as_str).collect()
}

/// The token of a stored file, from its name `<token>-<sha256>`. `None`: not a name of ours, so never touched.
pub(super) fn file_token(name: &str) -> Option<Token> {
    name.split_once('-').and_then(|(token, _)| token.parse().ok()).map(Token)
}

/// What the store holds must fit what the authority says: otherwise the authority lost its history, and a start would
/// silently lose or double rows.
pub(super) fn check(inventory: &Inventory, committed: Option<&Commit>, token: Token, settings: &Settings) -> Go {
    if settings.start.is_reset() || !settings.rules.positive_list || !settings.rules.token_names {
        return Ok(());
    }
    let halt = |why: String| Err(End::new(Class::Halt, why));
    if let Some(stored) = inventory.manifests.iter().find(|stored| stored.token >= token) {
        return halt(format!(
            "snapshot {}-{} has a token not below our claim ({token}): {}, or another instance has taken over; {}",
            stored.epoch,
            stored.token,
            lost(settings),
            way_out(settings)
        ));
    }
    if settings.start.is_rewind() {
        return Ok(());
    }
    let newest = committed.map_or(Epoch(0), |commit| commit.epoch);
    if let Some(stored) = inventory.manifests.iter().find(|stored| stored.noted && stored.epoch > newest) {
        return halt(format!(
            "snapshot {}-{} was committed, but the newest commit that can be read is of epoch {newest}: {}; {}",
            stored.epoch,
            stored.token,
            lost(settings),
            way_out(settings)
        ));
    }
    let snapshot = committed.and_then(|commit| commit.snapshot.as_ref()).filter(|_| !settings.start.leaves_newest());
    if let Some(snapshot) = snapshot
        && !inventory.manifests.iter().any(|stored| (stored.epoch, stored.token) == (snapshot.epoch, snapshot.token))
    {
        return halt(format!(
            "the newest commit names snapshot {0}, and checkpoints/{0}/manifest is missing or damaged: bring the state folder \
             back from a backup that has it; to throw the state away instead: --from empty --rewind",
            snapshot.id()
        ));
    }
    Ok(())
}

/// Which authority does not know what the store knows.
fn lost(settings: &Settings) -> &'static str {
    match settings.ids.is_empty() {
        true => "the file CURRENT is older than the snapshots",
        false => "the commit topic was made anew or has lost commits",
    }
}

fn way_out(settings: &Settings) -> &'static str {
    match settings.ids.is_empty() {
        true => "bring the newest CURRENT back; to throw the state away instead: --from empty --rewind",
        // Tokens are offsets: behind a younger topic the old snapshots would be in the way for ever.
        false => "bring the topic back; to begin anew instead: --from empty --rewind, with an empty folder as --state",
    }
}

#[cfg(test)]
mod tests;
