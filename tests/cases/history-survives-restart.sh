#!/bin/bash
# A router that keeps history in files is restarted, and then killed: `sub --since` shows what came before, once and in order, a
# cursor of an earlier life goes on where it was, another router asks for it, too, and what a kill has cost is a gap that comes first.
# Exit 0: right. 1: wrong. 77: cannot be tried here. Needs $BIN (folder of millrace, millrace-router), bash, jq, curl.
BIN=${BIN:?folder of the binaries}
W=$(mktemp -d); export HOME=$W/home XDG_RUNTIME_DIR=$W/run; mkdir -p $HOME $XDG_RUNTIME_DIR
for v in ROUTER CA CERT KEY SEEDS LISTEN ADMIN CONFIG ADVERTISE; do unset MILLRACE_$v; done
PIDS=; trap 'for p in $PIDS; do kill -9 $p 2>/dev/null; done; wait 2>/dev/null; rm -rf $W' EXIT
wrong() { echo "WRONG: $*"; exit 1; }
N=0
router() { # arguments... ; sets RP (pid) RA (address) ADM (admin)
  N=$((N+1)); "$BIN/millrace-router" --ready-json --listen 127.0.0.1:0 --admin 127.0.0.1:0 --cores 2 --history-bytes 64MiB "$@" >$W/ready$N 2>$W/err$N & RP=$!; PIDS="$PIDS $RP"
  for i in $(seq 100); do [ -s $W/ready$N ] && break; kill -0 $RP 2>/dev/null || break; sleep 0.1; done
  RA=$(jq -r .addr $W/ready$N); ADM=$(jq -r .admin $W/ready$N); }
kept() { router --history-dir $W/history --set history.free_percent=0 --set grace=1s "$@"; }
linked() { for i in $(seq 100); do [ "$(curl -s http://$1/status | jq '[.peers[]? | select(.state == "linked")] | length' 2>/dev/null)" = 1 ] && return; sleep 0.1; done; wrong "the routers do not link"; }
publish() { # router first last
  seq -f "n-%.0f" $2 $3 | "$BIN/millrace" --router $1 pub --lines -t from=here -q || wrong "pub"; }
subscribe() { # file arguments... ; ends at the count
  local file=$1; shift; timeout 60 "$BIN/millrace" --json sub "$@" >$file 2>$file.told || wrong "$file: sub ended with $?: $(tail -1 $file.told)"; }
whole() { # file first last: each of them once, in order
  jq -r 'select(.type == "event") | .payload' $1 >$W/some
  seq -f "n-%.0f" $2 $3 | cmp -s - $W/some || wrong "$1: $2..$3 expected, $(wc -l <$W/some) came: $(head -1 $W/some)..$(tail -1 $W/some)"; }
gapless() { ! jq -c 'select(.type == "gap")' $1 | grep . || wrong "$1 has a gap"; }

kept; A=$RA
publish $A 1 1000
subscribe $W/first --router $A --cursor $W/seen --since 5m -n 1000 '*'
whole $W/first 1 1000
publish $A 1001 1500
router --history-dir $W/history && [ ! -s $W/ready$N ] || wrong "two routers have one folder"
grep -q 'another router uses it' $W/err$N || wrong "it is not said: $(tail -1 $W/err$N)"
RP=$(jq -r .pid $W/ready1); kill $RP; wait $RP

kept; A=$RA
publish $A 1501 1600
subscribe $W/since --router $A --since 1h -n 1600 '*'
whole $W/since 1 1600; gapless $W/since
subscribe $W/second --router $A --cursor $W/seen -n 600 '*'
whole $W/second 1001 1600; gapless $W/second

# Killed, a second and more after the last event: another router asks the next life for what is there.
file_metric() { curl -s http://$ADM/metrics | awk -v name=millrace_history_file_$1 '$1 == name { print $2 }'; }
for i in $(seq 100); do [ "$(file_metric lives)" = 2 ] && break; sleep 0.1; done
[ "$(file_metric lives)" = 2 ] || wrong "files have $(file_metric lives) lives, of 2"
sleep 1.5
kill -9 $RP; wait $RP 2>/dev/null
router; B=$RA
kept --seed $B; A=$RA; linked $ADM
publish $A 1601 1700
subscribe $W/killed --router $B --since 1h -n 1700 '*'
whole $W/killed 1 1700
[ "$(head -1 $W/killed | jq -r '.type + .reason')" = gapevicted ] || wrong "no gap comes first: $(head -1 $W/killed)"
echo "right: 1,700 events over three lives, $(du -sk $W/history | cut -f1) KiB of files"
