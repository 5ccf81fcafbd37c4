#!/usr/bin/env bash
# `million` with one router of two cores against two routers of one core: CPU per event of the routers, medians over
# interleaved rounds. Usage: bench-results/two-cores.sh FOLDER [ROUNDS] [RATE]; FOLDER gets the reports.
# Needs a release build (cargo build --release -p millrace-loadgen) and a quiet machine.
set -euo pipefail
folder=$1 rounds=${2:-5} rate=${3:-200000}
bin="$(dirname "$0")/../target/release/millrace-loadgen"
mkdir -p "$folder"
for round in $(seq "$rounds"); do
    for shape in "1 2" "2 1"; do
        read -r routers cores <<<"$shape"
        "$bin" run --preset million --routers "$routers" --cores "$cores" --rate "$rate" --no-step-down --duration 5s \
            --quiet --allow rate --json "$folder/$routers-of-$cores-round-$round.json" >/dev/null ||
            echo "round $round, $routers router(s) of $cores core(s): not clean, see its report" >&2
    done
done
python3 - "$folder" <<'PYTHON'
import glob, json, statistics, sys

medians = {}
for shape in ("1-of-2", "2-of-1"):
    reports = [json.load(open(name)) for name in sorted(glob.glob(f"{sys.argv[1]}/{shape}-round-*.json"))]
    costs = [report["cpu_ns_per_event"]["routers"] for report in reports]
    medians[shape] = statistics.median(costs)
    lost = sum(report["lost"] for report in reports)
    print(f"{shape}: {medians[shape]:.0f} ns per event ({min(costs):.0f} to {max(costs):.0f}, {len(costs)} rounds), lost {lost}")
print(f"ratio: {medians['1-of-2'] / medians['2-of-1']:.3f} (bar: at most 1.10)")
PYTHON
