//! Keyed state: RocksDB lives here and nowhere else. Key codec, working set, timers, snapshot, restore.
