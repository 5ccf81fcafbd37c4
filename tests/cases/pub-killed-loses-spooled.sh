#!/bin/bash
# `millrace pub --spool` is killed (kill -9) again and again in the midst: nothing that it took may be missing, or arrive twice.
# Exit 0: right. 1: wrong. 77: cannot be tried here. Needs $BIN (folder of millrace, millrace-router), bash, jq. $ROUNDS: kills, 50.
BIN=${BIN:?folder of the binaries}
W=$(mktemp -d); export HOME=$W/home XDG_RUNTIME_DIR=$W/run; mkdir -p $HOME $XDG_RUNTIME_DIR
for v in ROUTER CA CERT KEY SEEDS LISTEN ADMIN CONFIG ADVERTISE; do unset MILLRACE_$v; done
PIDS=; trap 'for p in $PIDS; do kill -9 $p 2>/dev/null; done; wait 2>/dev/null; rm -rf $W' EXIT
wrong() { echo "WRONG: $*"; exit 1; }
ROUNDS=${ROUNDS:-50}
"$BIN/millrace-router" --ready-json --listen 127.0.0.1:0 --admin 127.0.0.1:0 >$W/ready 2>$W/router & PIDS="$PIDS $!"
for i in $(seq 100); do [ -s $W/ready ] && break; sleep 0.1; done
export MILLRACE_ROUTER=$(jq -r .addr $W/ready)
"$BIN/millrace" sub '*' --json >$W/got 2>$W/acks & PIDS="$PIDS $!"
for i in $(seq 100); do grep -q cluster $W/acks && break; sleep 0.1; done
mkfifo $W/in
for round in $(seq $ROUNDS); do
  ( for n in $(seq 200); do seq -f "$round-%.0f" $((n * 50 - 49)) $((n * 50)); sleep 0.01; done ) >$W/in 2>/dev/null & WRITER=$!
  "$BIN/millrace" pub --spool $W/spool --spool-free 0 --lines -t host=a -q --confirm delivered <$W/in 2>>$W/words & P=$!
  sleep 0.$(printf %03d $((RANDOM % 400 + 50)))
  kill -9 $P $WRITER; wait $P $WRITER 2>/dev/null
done 2>/dev/null
"$BIN/millrace" spool replay $W/spool --confirm delivered 2>$W/replay || wrong "replay: $(tail -2 $W/replay)"
TAKEN=$("$BIN/millrace" spool inspect $W/spool --json | jq .next_seq)
for i in $(seq 100); do [ "$(jq -c 'select(.seq)' $W/got | wc -l)" -ge $((TAKEN - 1)) ] && break; sleep 0.1; done
jq -r 'select(.seq != null) | .seq' $W/got | sort -n >$W/seqs
[ "$(uniq $W/seqs | wc -l)" = "$TAKEN" ] || wrong "$TAKEN events were taken, $(uniq $W/seqs | wc -l) arrived"
[ "$(wc -l <$W/seqs)" = "$TAKEN" ] || wrong "$(wc -l <$W/seqs) events for $TAKEN"
jq -r 'select(.seq != null) | .payload' $W/got | awk -F- '$2 != last[$1] + 1 { exit 1 } { last[$1] = $2 }' || wrong "lines are missing, or out of order"
[ "$TAKEN" -gt 1000 ] || wrong "only $TAKEN events were taken in $ROUNDS rounds"
echo "right: $ROUNDS kills, $TAKEN events, each once"
