#!/bin/bash
# A disk has turned bits of a spool: what cannot be read is named, and the command that finds it ends with code 1; the rest arrives.
# Exit 0: right. 1: wrong. 77: cannot be tried here. Needs $BIN (folder of millrace, millrace-router), bash, jq, python3.
BIN=${BIN:?folder of the binaries}
W=$(mktemp -d); export HOME=$W/home XDG_RUNTIME_DIR=$W/run; mkdir -p $HOME $XDG_RUNTIME_DIR
for v in ROUTER CA CERT KEY SEEDS LISTEN ADMIN CONFIG ADVERTISE; do unset MILLRACE_$v; done
PIDS=; trap 'exec 2>/dev/null; for p in $PIDS; do pkill -9 -P $p; kill -9 $p 2>/dev/null; done; wait 2>/dev/null; rm -rf $W' EXIT
N=0
router() { # arguments... ; sets RP (pid) RA (address) ADM (admin) ERR (its standard error)
  N=$((N+1)); ERR=$W/err$N; "$BIN/millrace-router" --ready-json --admin 127.0.0.1:0 "$@" >$W/ready$N 2>$ERR & RP=$!; PIDS="$PIDS $RP"
  for i in $(seq 100); do [ -s $W/ready$N ] && break; kill -0 $RP 2>/dev/null || break; sleep 0.1; done
  RA=$(jq -r .addr $W/ready$N 2>/dev/null); ADM=$(jq -r .admin $W/ready$N 2>/dev/null); }
wrong() { echo "WRONG: $*"; exit 1; }
right() { echo "right: $*"; exit 0; }
router --listen 127.0.0.1:0
CA=$(jq -r .ca $W/ready1); M="$BIN/millrace --router $RA --ca $CA"
"$BIN/millrace" --router 127.0.0.1:9 --ca $CA pub --lines -t k=v --spool $W/s --timeout 1s < <(seq 2000) >/dev/null 2>$W/e; rc=$?
[ $rc = 3 ] || wrong "without a router: code $rc: $(tail -1 $W/e)"
python3 - $W/s/*.seg <<'EOP'
import sys
data = bytearray(open(sys.argv[1], "rb").read())
data[20_000] ^= 4
open(sys.argv[1], "wb").write(data)
EOP
timeout 60 $M sub k=v >$W/out 2>$W/sub & S=$!; PIDS="$PIDS $S"
for i in $(seq 100); do grep -q 'whole cluster' $W/sub && break; sleep 0.1; done
timeout 60 $M spool replay $W/s 2>$W/e; rc=$?
for i in $(seq 50); do [ -s $W/out ] && break; sleep 0.1; done; sleep 0.5
n=$(wc -l <$W/out)
[ $n -gt 0 ] || wrong "what can be read did not arrive"
[ $n -lt 2000 ] || wrong "nothing was damaged"
grep -q 'cannot read the events' $W/e && [ $rc = 1 ] || wrong "$n of 2000 arrived, code $rc: $(tail -1 $W/e)"
timeout 60 $M spool replay $W/s 2>$W/e || wrong "told again: $(tail -1 $W/e)"
right "$n of 2000 arrived, the rest is named, code 1"
