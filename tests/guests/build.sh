#!/bin/sh
# Builds the test operators: as core modules tests/guests/target/wasm32-unknown-unknown/release/{count,hostile,identity,
# ledger,ledger2,ledger2_bare,ledger2_map,raw}.wasm, of which the tests make components in process
# (weir::guest::component::componentize); and as a component that cargo alone makes
# tests/guests/target/wasm32-wasip2/release/system.wasm. The .wat files beside are what they are.
set -eu
cd "$(dirname "$0")"
# Flags and target folders of a build around this one are not meant for guests.
unset RUSTFLAGS CARGO_ENCODED_RUSTFLAGS CARGO_TARGET_DIR CARGO_BUILD_TARGET_DIR || true
cargo build --release --target wasm32-unknown-unknown --target-dir target --locked "$@"
cargo build --release --target wasm32-wasip2 --target-dir target --locked --package system "$@"
