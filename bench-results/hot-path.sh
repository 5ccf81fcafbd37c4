#!/usr/bin/env bash
# What the hot path of one core costs in what does not depend on how busy the machine is: instructions and allocations per
# run, from a publisher's stream to a receiver's. Fails above the limits, which are a tenth above what was measured last:
# whoever makes it cheaper lowers them. Needs valgrind.
set -euo pipefail
cd "$(dirname "$0")/.."

command -v valgrind >/dev/null || { echo "valgrind is missing: install it (Debian: apt-get install valgrind)" >&2; exit 2; }
cargo build --quiet --release --locked -p millrace-engine --example hot_path
target=$(cargo metadata --format-version 1 --no-deps --locked | sed -E 's/.*"target_directory":"([^"]*)".*/\1/')
program="$target/release/examples/hot_path"

# Instructions for so many runs: all of the program, so that two numbers of runs have to be compared.
instructions() {
    valgrind --tool=callgrind --callgrind-out-file=/dev/null "$program" "$1" "$2" 2>&1 >/dev/null |
        sed -nE 's/.*Collected : ([0-9]+).*/\1/p'
}

failed=0
measure() {
    local events=$1 instructions_max=$2 allocations_max=$3
    local few=2000 many=12000
    local per_run=$((($(instructions $many "$events") - $(instructions $few "$events")) / (many - few)))
    local allocations verdict=ok
    allocations=$("$program" $many "$events")
    if ((per_run > instructions_max)) || awk "BEGIN { exit !($allocations > $allocations_max) }"; then
        verdict="ABOVE ITS LIMIT" failed=1
    fi
    printf 'runs of %2d event(s): %5d instructions (limit %d), %s allocations (limit %s) per run: %s\n' \
        "$events" "$per_run" "$instructions_max" "$allocations" "$allocations_max" "$verdict"
}

measure 1 3130 2.2
measure 16 5560 2.3
exit $failed
