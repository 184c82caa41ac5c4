//! One file per command: parse, build, wait.
