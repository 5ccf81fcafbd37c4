#!/bin/bash
# seq | millrace pub --lines at one router, millrace sub at another one, ten pairs at once and one with a slow reader and a
# small queue: every line has to arrive, because publishers wait for receivers behind a peer, too.
# Exit 0: right. 1: wrong. 77: cannot be tried here. Needs $BIN (folder of millrace, millrace-router), bash, jq, perl.
BIN=${BIN:?folder of the binaries}; LINES_EACH=${LINES_EACH:-200000}
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
router --listen 127.0.0.1:0; A=$RA; router --listen 127.0.0.1:0 --seed $A; B=$RA
SLOWLY='$/ = \65536; while (<STDIN>) { print; select undef, undef, undef, 0.008 }' # 8 MB/s at most.
for n in $(seq 0 10); do
  if [ $n = 0 ]; then
    "$BIN/millrace" --router $B sub --queue 4MiB --count $LINES_EACH --fail-on-gap n=0 2>$W/sub0 | perl -e "$SLOWLY" >$W/out0 & PIDS="$PIDS $!"
  else
    "$BIN/millrace" --router $B sub --count $LINES_EACH --fail-on-gap n=$n >$W/out$n 2>$W/sub$n & PIDS="$PIDS $!"
  fi; SUB[n]=$!
done
for n in $(seq 0 10); do for i in $(seq 100); do grep -q cluster $W/sub$n && break; sleep 0.1; done; done
for n in $(seq 0 10); do seq 1 $LINES_EACH | "$BIN/millrace" --router $A pub --lines -t n=$n 2>$W/pub$n >/dev/null & PUB[n]=$!; done
for n in $(seq 0 10); do wait ${PUB[n]} || wrong "pub $n: $(tail -1 $W/pub$n)"; done
for n in $(seq 0 10); do
  for i in $(seq 300); do kill -0 ${SUB[n]} 2>/dev/null || break; sleep 0.1; done
  [ $(wc -l <$W/out$n) = $LINES_EACH ] || wrong "pair $n: $(wc -l <$W/out$n) of $LINES_EACH lines: $(tail -1 $W/sub$n)"
done
right "$((11 * LINES_EACH)) lines at another router"
