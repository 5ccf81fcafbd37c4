#!/bin/bash
# The longest line that an event carries (1 MiB), ended by CR LF, is no longer than that; one byte more is.
# Exit 0: right. 1: wrong. 77: cannot be tried here. Needs $BIN (folder of millrace, millrace-router), bash, jq.
BIN=${BIN:?folder of the binaries}
W=$(mktemp -d); export HOME=$W/home XDG_RUNTIME_DIR=$W/run; mkdir -p $HOME $XDG_RUNTIME_DIR
for v in ROUTER CA CERT KEY SEEDS LISTEN ADMIN CONFIG ADVERTISE; do unset MILLRACE_$v; done
PIDS=; trap 'for p in $PIDS; do kill -9 $p 2>/dev/null; done; wait 2>/dev/null; rm -rf $W' EXIT
N=0
router() { # arguments... ; sets RP (pid) RA (address) ADM (admin) ERR (its standard error)
  N=$((N+1)); ERR=$W/err$N; "$BIN/millrace-router" --ready-json --admin 127.0.0.1:0 "$@" >$W/ready$N 2>$ERR & RP=$!; PIDS="$PIDS $RP"
  for i in $(seq 100); do [ -s $W/ready$N ] && break; kill -0 $RP 2>/dev/null || break; sleep 0.1; done
  RA=$(jq -r .addr $W/ready$N 2>/dev/null); ADM=$(jq -r .admin $W/ready$N 2>/dev/null); }
wrong() { echo "WRONG: $*"; exit 1; }
right() { echo "right: $*"; exit 0; }
router --listen 127.0.0.1:0
line() { head -c $1 /dev/zero | tr '\0' x; printf '\r\n'; }
line 1048576 | "$BIN/millrace" --router $RA pub -q --lines -t a=b 2>$W/e || wrong "1048576 bytes and CR LF: $(head -1 $W/e)"
line 1048577 | "$BIN/millrace" --router $RA pub -q --lines -t a=b 2>$W/e; rc=$?; [ $rc = 1 ] || wrong "1048577 bytes: code $rc"
line 1048576 | "$BIN/millrace" --router $RA pub -q --lines --keep-cr -t a=b 2>$W/e; rc=$?; [ $rc = 1 ] || wrong "--keep-cr: code $rc"
right "as long as the payload"
