//! A batch on its way between nodes, with the keys that were extracted while its values were scanned for the time. Owns
//! extraction of keys; knows nothing of watermarks or guests.

use std::sync::Arc;

use weir_core::extract::Extractor;
use weir_core::key_group;
use weir_core::record::Batch;

use crate::guest::Keyed;

/// How a node finds the key of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyExtraction {
    /// A JSON pointer into the value.
    Json(String),
    /// The record's own key.
    Record,
}

/// A batch and what is known about it.
#[derive(Debug, Default)]
pub struct Packet {
    /// The records.
    pub batch: Batch,
    /// Keys that were found already: by a source, or where an edge is spread by key. Empty behind an operator.
    pub keyed: Vec<Keyed>,
    /// Where each of `keyed` was found.
    pub keys_of: Arc<[KeyExtraction]>,
}

impl Packet {
    /// Which of `keyed` holds the keys of all records by this extraction.
    pub(super) fn known_at(&self, by: &KeyExtraction) -> Option<usize> {
        let index = self.keys_of.iter().position(|known| known == by)?;
        self.keyed.get(index).is_some_and(|keyed| keyed.hashes.len() == self.batch.len()).then_some(index)
    }

    /// Forgets the records and keeps the memory.
    pub fn clear(&mut self) {
        self.batch.clear();
        for keyed in &mut self.keyed {
            keyed.hashes.clear();
            keyed.keys.clear();
        }
    }

    /// Appends single slots of another packet, each with its key, which stands in `keyed` under the same slot.
    pub(super) fn append_keyed(&mut self, other: &Packet, keyed: &Keyed, by: &KeyExtraction, slots: &[u32]) {
        if self.keyed.len() != 1 || self.keys_of.first() != Some(by) {
            self.keyed.resize_with(1, Keyed::default);
            self.keys_of = Arc::new([by.clone()]);
        }
        self.batch.extend_slots(&other.batch, slots);
        self.keyed[0].hashes.extend(slots.iter().map(|slot| keyed.hashes[*slot as usize]));
        self.keyed[0].keys.extend_slots(&keyed.keys, slots);
    }

    fn share_keys_of(&mut self, of: &Arc<[KeyExtraction]>) {
        if !Arc::ptr_eq(&self.keys_of, of) {
            self.keys_of = Arc::clone(of);
        }
    }

    /// Appends slots of another packet of the same source.
    pub fn extend_from(&mut self, other: &Packet, range: std::ops::Range<usize>) {
        self.batch.extend_from(&other.batch, range.clone());
        self.keyed.resize_with(other.keyed.len(), Keyed::default);
        // Keys that are not there for all records are found again by whoever needs them.
        let whole = |keyed: &&Keyed| keyed.hashes.len() == other.batch.len();
        for (to, from) in self.keyed.iter_mut().zip(&other.keyed).filter(|(_, from)| whole(from)) {
            to.hashes.extend_from_slice(&from.hashes[range.clone()]);
            to.keys.extend_from(&from.keys, range.clone());
        }
        self.share_keys_of(&other.keys_of);
    }
}

/// Extracts the keys of a batch that no source extracted; a record without one is a fault.
pub(super) fn extract_keys(
    batch: &Batch,
    by: &KeyExtraction,
    extractor: &mut Option<Extractor>,
    into: &mut Keyed,
    faults: &mut Vec<(usize, String)>,
) {
    into.hashes.clear();
    into.keys.clear();
    for slot in 0..batch.len() {
        let key = match by {
            KeyExtraction::Record => match batch.keys.get(slot) {
                Some(key) => {
                    into.keys.push(Some(key));
                    Ok(())
                }
                None => Err("the record has no key".to_owned()),
            },
            KeyExtraction::Json(pointer) => extract_one(extractor, pointer, batch.values.get(slot), into),
        };
        match key {
            Ok(()) => into.hashes.push(key_group::hash(into.keys.get(slot).unwrap_or_default())),
            Err(what) => {
                // Keeps the columns aligned; the slot is taken out before anything sees it.
                into.keys.push(None);
                into.hashes.push(0);
                faults.push((slot, what));
            }
        }
    }
}

fn extract_one(
    extractor: &mut Option<Extractor>,
    pointer: &str,
    value: Option<&[u8]>,
    into: &mut Keyed,
) -> Result<(), String> {
    if extractor.is_none() {
        *extractor = Some(Extractor::compile(None, &[pointer]).map_err(|e| e.to_string())?);
    }
    let Some(extractor) = extractor else { return Ok(()) };
    extractor.extract(value, std::slice::from_mut(&mut into.keys)).map(|_| ()).map_err(|e| e.to_string())
}
