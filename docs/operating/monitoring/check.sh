#!/bin/bash
# Checks what is in this folder: the rules (promtool), each alert shown firing, and each query of the
# dashboard against a real Prometheus that scrapes two routers under load.
# BIN is the folder of millrace-router and millrace (default: target/debug). Exit code 77: Prometheus is not installed.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
bin=${BIN:-$here/../../../target/debug}
for tool in prometheus promtool python3; do
  command -v "$tool" >/dev/null || { echo "skipped: $tool is not installed"; exit 77; }
done
cd "$here"
promtool check rules alerts.yaml
promtool test rules alerts_test.yaml

work=$(mktemp -d)
# Each job is a process group of its own, so that its end is the end of all that it has started.
set -m
trap 'exec 2>/dev/null; for job in $(jobs -p); do kill -KILL -- "-$job" 2>/dev/null || true; done; sleep 0.2; rm -rf "$work"' EXIT
export XDG_RUNTIME_DIR=$work

# The ready line of a router as JSON, on standard output.
start() {
  local line=$work/$1.json; shift
  "$bin/millrace-router" --listen 127.0.0.1:0 --admin 127.0.0.1:0 --ready-json "$@" >"$line" 2>"$line.log" &
  for (( look = 0; look < 200; look++ )); do
    [[ -s $line ]] && return
    sleep 0.05
  done
  echo "a router did not start:"; cat "$line.log"; exit 1
}
field() { python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))[sys.argv[2]])' "$work/$1.json" "$2"; }

start one --name one --cores 2
start two --name two --seed "$(field one addr)"
export MILLRACE_ROUTER
MILLRACE_ROUTER=$(field one addr)
"$bin/millrace" sub -q 'host=web-*' --router "$(field two addr)" >/dev/null &
"$bin/millrace" sub -q '*' --queue 64KiB 2>/dev/null | sleep 60 &
( while :; do seq 200000 | "$bin/millrace" pub -q --lines -t host=web-1,service=shop || true; done ) >/dev/null 2>&1 &

cat >"$work/prometheus.yaml" <<END
global: { scrape_interval: 1s, evaluation_interval: 1s }
rule_files: ["$here/alerts.yaml"]
scrape_configs:
  - job_name: millrace
    static_configs: [{ targets: ["$(field one admin)", "$(field two admin)"] }]
END
promtool check config "$work/prometheus.yaml" >/dev/null
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
prometheus --config.file="$work/prometheus.yaml" --storage.tsdb.path="$work/data" \
  --web.listen-address="127.0.0.1:$port" --log.level=error &
python3 "$here/queries.py" "http://127.0.0.1:$port" dashboard.json alerts.yaml
