//! Filling the working set from entries of the database: at a restore, and with what was evicted.

use rocksdb::DB;
use weir_core::key_group::{KeyGroup, hash};
use weir_core::record::Column;

use super::keyed::{KeyedState, Kind};
use super::{Error, key, live};

/// Keys that are looked up together.
const BATCH: usize = 1_000;

impl KeyedState {
    /// Whether entries of this key group with this state id belong here.
    pub fn owns(&self, group: KeyGroup, id: u16) -> bool {
        self.groups.contains(&group.0) && (id == self.timers_id || self.states.iter().any(|s| s.spec.id == id))
    }

    /// The ids of its states and of its timers.
    pub(super) fn stored(&self) -> impl Iterator<Item = (u16, Stored)> {
        let states = self.states.iter().map(|declared| match declared.spec.kind {
            Kind::Value => (declared.spec.id, Stored::Value),
            Kind::Map => (declared.spec.id, Stored::Field),
        });
        states.chain([(self.timers_id, Stored::Timer)])
    }

    /// Takes one entry of the database, of a key of which nothing has changed since. Between calls.
    pub fn load(&mut self, bytes: &[u8], value: &[u8]) -> Result<(), Error> {
        let (_, id, _) = key::split(bytes)?;
        let Some((_, kind)) = self.stored().find(|(known, _)| *known == id) else { return Err(unknown(id)) };
        self.load_hashed(hash_of(kind, bytes)?, bytes, value)
    }

    /// The same, where the hash of its key is known.
    pub(super) fn load_hashed(&mut self, hash: u64, bytes: &[u8], value: &[u8]) -> Result<(), Error> {
        let (_, id, rest) = key::split(bytes)?;
        if id == self.timers_id {
            let (key, time, tag) = key::split_timer(rest)?;
            self.load_under(hash, &key, |state, entry| state.timers.load(entry, time, tag));
            return Ok(());
        }
        let Some(declared) = self.states.iter().find(|s| s.spec.id == id) else { return Err(unknown(id)) };
        let place = declared.place;
        match declared.spec.kind {
            Kind::Value => self.load_under(hash, rest, |state, entry| state.values.load(entry, place, value)),
            Kind::Map => {
                let (key, field) = key::split_field(rest)?;
                self.load_under(hash, &key, |state, entry| state.maps.load(entry, place, field, value));
            }
        }
        Ok(())
    }

    /// Asks for the line that loading a key of this hash looks at first.
    #[inline]
    pub(super) fn prefetch_load(&self, hash: u64) {
        self.entries.prefetch_index(hash);
    }

    /// The timers of a key group that stays in the database, and with them all else that their keys have.
    pub(super) fn load_timers(&mut self, db: &DB, group: KeyGroup) -> Result<(), Error> {
        let mut prefix = Vec::new();
        key::value(&mut prefix, group, self.timers_id, &[]);
        let (mut hashes, mut keys, mut timers) = (Vec::new(), Column::default(), Vec::new());
        live::scan(db, live::in_bulk(), &prefix, |bytes, _| {
            let (key, _, _) = key::split_timer(key::split(bytes)?.2)?;
            hashes.push(hash(&key));
            keys.push(Some(&key));
            timers.push(bytes.to_vec());
            if timers.len() == BATCH {
                self.load_with_timers(&mut hashes, &mut keys, &mut timers)?;
            }
            Ok(())
        })?;
        self.load_with_timers(&mut hashes, &mut keys, &mut timers)
    }

    fn load_with_timers(
        &mut self,
        hashes: &mut Vec<u64>,
        keys: &mut Column,
        timers: &mut Vec<Vec<u8>>,
    ) -> Result<(), Error> {
        self.load_missing(hashes, keys)?;
        timers.iter().try_for_each(|timer| self.load(timer, &[]))?;
        hashes.clear();
        keys.clear();
        timers.clear();
        Ok(())
    }

    fn load_under(&mut self, hash: u64, key: &[u8], put: impl FnOnce(&mut Self, u32) -> i32) {
        let entry = match self.entries.find(hash, key) {
            Some(entry) => entry,
            None => {
                self.entries.reserve(1);
                self.add_key(hash, key)
            }
        };
        let held = put(self, entry);
        let entry = self.entries.get_mut(entry);
        entry.held = entry.held.wrapping_add_signed(held);
    }
}

/// What an entry of the database is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Stored {
    Value,
    Field,
    Timer,
}

/// The hash of the key that an entry of the database belongs to. One that lies under another key group is damaged.
pub(super) fn hash_of(kind: Stored, bytes: &[u8]) -> Result<u64, Error> {
    let (group, _, rest) = key::split(bytes)?;
    let hash = match kind {
        Stored::Value => hash(rest),
        Stored::Field => hash(&key::split_field(rest)?.0),
        Stored::Timer => hash(&key::split_timer(rest)?.0),
    };
    let of_hash = KeyGroup::of_hash(hash);
    if of_hash != group {
        return Err(Error::Entry(format!("a key of group {} lies under group {}", of_hash.0, group.0)));
    }
    Ok(hash)
}

fn unknown(id: u16) -> Error {
    Error::UnknownState { name: format!("a state with id {id}") }
}
