//! Values of an older schema version become those of a newer one, all of them at a restore: read from the open database in the
//! order of its keys, rewritten a batch at a time, and written as one more delta. So memory holds a batch, and what is in the
//! database needs no mark of its version. Knows no operator.

use std::path::Path;

use rocksdb::{DB, SstFileWriter};
use weir_core::key_group::{KEY_GROUPS, KeyGroup};
use weir_core::record::Column;

use super::load::{Stored, hash_of};
use super::options::{failed, options};
use super::{Error, key, live};

/// Values and bytes of values that are rewritten in one call, where one alone is not more.
const VALUES_MAX: usize = 1_000;
const BYTES_MAX: usize = 1 << 20;

/// Who rewrites values.
pub trait Migrate {
    /// The ids of the states whose values are rewritten, and whether each is a map.
    fn states(&self) -> Vec<(u16, bool)>;

    /// Rewrites values of a state, all of one key group: as many come back, and one that is absent removes what was there. An
    /// error says all but which value it is about. It may come again with the same values, or with some of them.
    fn migrate(&mut self, state: u16, group: KeyGroup, values: &Column) -> Result<Column, String>;
}

/// Writes a delta of what `by` makes of a database's values. Returns whether there was anything to write.
pub(super) fn write(db: &DB, by: &mut dyn Migrate, path: &Path) -> Result<bool, Error> {
    let mut states = by.states();
    states.sort_unstable();
    // Keys that are evicted later are looked up in it.
    let options = options(true);
    let mut batch =
        Batch { table: SstFileWriter::create(&options), path, rows: 0, keys: Vec::new(), values: Column::default() };
    // Order: a table is written in the order of its keys, which is key group by key group and in each state by state.
    for group in (0..KEY_GROUPS).map(KeyGroup) {
        for (state, is_map) in &states {
            let of = Of { state: *state, group, stored: if *is_map { Stored::Field } else { Stored::Value } };
            let mut prefix = Vec::new();
            key::value(&mut prefix, group, *state, &[]);
            live::scan(db, live::in_bulk(), &prefix, |key, value| {
                if batch.is_full(value.len()) {
                    batch.rewrite(of, by)?;
                }
                hash_of(of.stored, key)?;
                batch.keys.push(key.to_vec());
                batch.values.push(Some(value));
                Ok(())
            })?;
            batch.rewrite(of, by)?;
        }
    }
    batch.finish()
}

/// Where the values of a batch are from.
#[derive(Clone, Copy)]
struct Of {
    state: u16,
    group: KeyGroup,
    stored: Stored,
}

/// What is read and not yet written, and the table that it goes to.
struct Batch<'a> {
    table: SstFileWriter<'a>,
    path: &'a Path,
    /// What the table has.
    rows: usize,
    keys: Vec<Vec<u8>>,
    values: Column,
}

impl Batch<'_> {
    fn is_full(&self, more: usize) -> bool {
        let bytes = self.values.data.len() + more;
        self.values.len() >= VALUES_MAX || (!self.values.is_empty() && bytes > BYTES_MAX)
    }

    fn rewrite(&mut self, of: Of, by: &mut dyn Migrate) -> Result<(), Error> {
        let (keys, values) = (std::mem::take(&mut self.keys), std::mem::take(&mut self.values));
        if !keys.is_empty() {
            self.rewrite_some(of, by, &keys, &values)?;
        }
        (self.keys, self.values) = (keys, values);
        self.keys.clear();
        self.values.clear();
        Ok(())
    }

    /// Where it fails, the halves are tried: together they may only be too much, and else it is known which value it is.
    fn rewrite_some(&mut self, of: Of, by: &mut dyn Migrate, keys: &[Vec<u8>], values: &Column) -> Result<(), Error> {
        match by.migrate(of.state, of.group, values) {
            Ok(migrated) => keys.iter().zip(migrated.iter()).try_for_each(|(key, value)| self.put(key, value)),
            Err(why) if keys.len() == 1 => Err(Error::NotMigrated(format!("{why}, {}", name_of(of.stored, &keys[0])))),
            Err(_) => {
                let middle = keys.len() / 2;
                for range in [0..middle, middle..keys.len()] {
                    let mut half = Column::default();
                    half.extend_from(values, range.clone());
                    self.rewrite_some(of, by, &keys[range], &half)?;
                }
                Ok(())
            }
        }
    }

    fn put(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<(), Error> {
        if self.rows == 0 {
            self.table.open(self.path).map_err(|e| failed("creating", self.path, e))?;
        }
        self.rows += 1;
        let put = match value {
            Some(value) => self.table.put(key, value),
            None => self.table.delete(key),
        };
        put.map_err(|e| failed("writing", self.path, e))
    }

    /// The file is fsynced by RocksDB. One without a row is none.
    fn finish(mut self) -> Result<bool, Error> {
        if self.rows > 0 {
            self.table.finish().map_err(|e| failed("finishing", self.path, e))?;
        }
        Ok(self.rows > 0)
    }
}

/// Which value of a state it is, for people.
fn name_of(stored: Stored, bytes: &[u8]) -> String {
    let shown = |bytes: &[u8]| bytes[..bytes.len().min(64)].escape_ascii().to_string();
    let Ok((_, _, rest)) = key::split(bytes) else { return String::new() };
    match (stored, key::split_field(rest)) {
        (Stored::Field, Ok((key, field))) => format!("key \"{}\", field \"{}\"", shown(&key), shown(field)),
        _ => format!("key \"{}\"", shown(rest)),
    }
}
