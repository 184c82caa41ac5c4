//! The data path: shard thread, subtask loop, input gates, exchanges.
