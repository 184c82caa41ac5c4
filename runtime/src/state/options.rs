//! How RocksDB is set up for us, and how its errors are taken. It holds state and is on the path of a record only where that
//! was evicted: small caches, shared by all databases of the process, no log, one background job.

use std::path::Path;
use std::sync::LazyLock;

use rocksdb::{BlockBasedIndexType, BlockBasedOptions, Cache, DBCompressionType, LogLevel, Options};

use super::Error;

/// Blocks, indices and filters of all databases.
static CACHE: LazyLock<Cache> = LazyLock::new(|| Cache::new_lru_cache(64 << 20));
/// Ten bits a key: of a hundred keys that are not there, one is looked for.
const FILTER_BITS: f64 = 10.0;

/// Options of the live database and of the deltas that it ingests. With `filter`, files can tell fast what they do not
/// hold; making that costs some nanoseconds a key.
pub(super) fn options(filter: bool) -> Options {
    // Made once: RocksDB begins each set of options with a cache of its own, some megabytes that are mapped and thrown away.
    static MADE: LazyLock<[Options; 2]> = LazyLock::new(|| [make(false), make(true)]);
    MADE[usize::from(filter)].clone()
}

fn make(filter: bool) -> Options {
    let mut table = BlockBasedOptions::default();
    table.set_format_version(6);
    table.set_block_cache(&CACHE);
    table.set_cache_index_and_filter_blocks(true);
    table.set_pin_l0_filter_and_index_blocks_in_cache(true);
    // In pieces of some kilobytes: one of megabytes fits into no shard of the cache, and would be read for each look-up.
    table.set_index_type(BlockBasedIndexType::TwoLevelIndexSearch);
    table.set_metadata_block_size(4 << 10);
    table.set_pin_top_level_index_and_filter(true);
    match filter {
        true => {
            table.set_bloom_filter(FILTER_BITS, false);
            table.set_partition_filters(true);
            // For one key of it a block is read, checked and decompressed whole.
            table.set_block_size(4 << 10);
        }
        false => table.set_block_size(16 << 10),
    }
    let mut options = Options::default();
    options.create_if_missing(true);
    options.set_block_based_table_factory(&table);
    options.set_compression_type(DBCompressionType::Lz4);
    options.set_max_background_jobs(1);
    // Nothing is ever written through the memtable: deltas are ingested.
    options.set_write_buffer_size(1 << 20);
    options.set_max_open_files(256);
    options.set_keep_log_file_num(1);
    options.set_log_level(LogLevel::Error);
    options.set_stats_dump_period_sec(0);
    options
}

/// Takes an error of RocksDB's: it says only in its text that the disk is full, and of what call.
pub(super) fn failed(action: &'static str, path: &Path, error: rocksdb::Error) -> Error {
    let text = error.to_string();
    let full = is_full(&text);
    let at_sync = ["fsync", "fdatasync", "sync_file_range", "Sync"].iter().any(|call| text.contains(call));
    if full && !at_sync {
        return Error::NoSpace { action, path: path.to_owned() };
    }
    Error::fatal(action, path, error)
}

/// The same for the live database, which is thrown away at every start: there a full disk loses nothing, even at an fsync.
pub(super) fn failed_live(action: &'static str, path: &Path, error: rocksdb::Error) -> Error {
    match is_full(error.as_ref()) {
        true => Error::NoSpace { action, path: path.to_owned() },
        false => Error::fatal(action, path, error),
    }
}

fn is_full(text: &str) -> bool {
    text.contains("No space left on device") || text.contains("Disk quota exceeded")
}
