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
