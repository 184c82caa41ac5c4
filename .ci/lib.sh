# Names and small helpers that the scripts of this repository share. Sourced, never run.
# shellcheck shell=bash disable=SC2034

# Where things live that outlast a clone. Each is made by the script that needs it.
weir_root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
weir_cache=${XDG_CACHE_HOME:-$HOME/.cache}/weir
kafka_version=$(sed -n 's:.*<kafka.version>\(.*\)</kafka.version>.*:\1:p' "$weir_root/tests/kafka/pom.xml")
kafka_home=${WEIR_KAFKA_HOME:-$weir_cache/kafka-$kafka_version}

say() { printf '%s\n' "$*" >&2; }

fail() {
    say "error: $*"
    exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

# A Kafka of this run's own, in a temporary folder: stopped and removed when the script ends, however it ends. Sets the
# variables by which tests and benchmarks find it.
start_kafka() {
    run=$(mktemp -d "${TMPDIR:-/tmp}/weir-run.XXXXXX")
    trap stop_kafka EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    say "starting Apache Kafka $kafka_version for this run"
    # --while: even a kill -9 of this script leaves no broker behind.
    "$weir_root/tests/kafka/broker" start "$run/kafka" --while $$ >"$run/env"
    set -a
    # shellcheck source=/dev/null
    source "$run/env"
    set +a
    export WEIR_KAFKA_HOME=$kafka_home
}

stop_kafka() {
    "$weir_root/tests/kafka/broker" stop "$run/kafka" 2>/dev/null || true
    rm -rf "$run"
}
