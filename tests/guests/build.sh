#!/bin/sh
# Builds the test operators as core modules: tests/guests/target/wasm32-unknown-unknown/release/{count,hostile,identity,
# ledger,ledger2,ledger2_bare,ledger2_map,raw}.wasm.
# The tests make components of them in process (weir::guest::component::componentize); the .wat files beside are components
# as they are.
set -eu
cd "$(dirname "$0")"
# Flags and target folders of a build around this one are not meant for guests.
unset RUSTFLAGS CARGO_ENCODED_RUSTFLAGS CARGO_TARGET_DIR CARGO_BUILD_TARGET_DIR || true
exec cargo build --release --target wasm32-unknown-unknown --target-dir target --locked "$@"
