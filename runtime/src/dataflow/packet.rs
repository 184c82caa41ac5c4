//! A batch on its way between nodes, with the keys that were extracted while its values were scanned for the time. Owns
//! extraction of keys; knows nothing of watermarks or guests.

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
    /// Keys per pointer, in the order of the source's list. Empty behind an operator.
    pub keyed: Vec<Keyed>,
    /// Which pointer each of `keyed` belongs to.
    pub pointers: std::sync::Arc<[String]>,
}

impl Packet {
    /// The keys that were extracted at this pointer, if the source did.
    pub fn keyed_by(&mut self, pointer: &str) -> Option<&mut Keyed> {
        let index = self.pointers.iter().position(|p| p == pointer)?;
        self.keyed.get_mut(index)
    }

    /// Forgets the records and keeps the memory.
    pub fn clear(&mut self) {
        self.batch.clear();
        for keyed in &mut self.keyed {
            keyed.hashes.clear();
            keyed.keys.clear();
        }
    }

    /// Appends slots of another packet of the same source.
    pub fn extend_from(&mut self, other: &Packet, range: std::ops::Range<usize>) {
        self.batch.extend_from(&other.batch, range.clone());
        self.keyed.resize_with(other.keyed.len(), Keyed::default);
        for (to, from) in self.keyed.iter_mut().zip(&other.keyed) {
            to.hashes.extend_from_slice(&from.hashes[range.clone()]);
            to.keys.extend_from(&from.keys, range.clone());
        }
        self.pointers = std::sync::Arc::clone(&other.pointers);
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
