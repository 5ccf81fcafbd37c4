#!/bin/bash
# Signals that others mean (log rotation, a limit of file sizes) end no router; the end of a terminal ends `pub` as Ctrl-C does: what was read is published.
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
for s in USR1 USR2 HUP XFSZ PIPE; do kill -$s $RP; sleep 0.3; kill -0 $RP 2>/dev/null || wrong "SIG$s ended the router"; done
"$BIN/millrace" --router $RA sub -n 500 k=v >$W/out 2>$W/sub & S=$!; PIDS="$PIDS $S"
for i in $(seq 100); do grep -q 'whole cluster' $W/sub && break; sleep 0.1; done
# A hangup counts where it did when the command began: `nohup` lets it pass. What is read last waits for company.
for how in env nohup; do
  rm -f $W/in; mkfifo $W/in; ( seq 500; sleep 600 ) >$W/in & F=$!; PIDS="$PIDS $F"
  $how "$BIN/millrace" --router $RA pub --lines --linger 60s -t k=v <$W/in >/dev/null 2>$W/pub & P=$!; PIDS="$PIDS $P"
  sleep 2; kill -HUP $P; sleep 1
  if [ $how = nohup ]; then kill -0 $P 2>/dev/null || wrong "nohup, and a hangup ended it"; kill -TERM $P; fi
  wait $P; rc=$?; [ $rc = 0 ] || wrong "$how: code $rc: $(tail -1 $W/pub)"
done
wait $S; rc=$?; [ $rc = 0 ] && [ $(wc -l <$W/out) = 500 ] || wrong "sub: code $rc, $(wc -l <$W/out) of 500 lines"
right "all lines arrived"
