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

    /// Takes one entry of the database, of a key of which nothing has changed since. Between calls.
    pub fn load(&mut self, bytes: &[u8], value: &[u8]) -> Result<(), Error> {
        let (group, id, rest) = key::split(bytes)?;
        if id == self.timers_id {
            let (key, time, tag) = key::split_timer(rest)?;
            return self.load_under(group, &key, |state, entry| state.timers.load(entry, time, tag));
        }
        let Some(declared) = self.states.iter().find(|s| s.spec.id == id) else {
            return Err(Error::UnknownState { name: format!("a state with id {id}") });
        };
        let place = declared.place;
        match declared.spec.kind {
            Kind::Value => self.load_under(group, rest, |state, entry| state.values.load(entry, place, value)),
            Kind::Map => {
                let (key, field) = key::split_field(rest)?;
                self.load_under(group, &key, |state, entry| state.maps.load(entry, place, field, value))
            }
        }
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

    fn load_under(
        &mut self,
        group: KeyGroup,
        key: &[u8],
        put: impl FnOnce(&mut Self, u32) -> i32,
    ) -> Result<(), Error> {
        let hash = hash(key);
        if KeyGroup::of_hash(hash) != group {
            return Err(Error::Entry(format!(
                "a key of group {} lies under group {}",
                KeyGroup::of_hash(hash).0,
                group.0
            )));
        }
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
        Ok(())
    }
}
