#!/bin/bash
# `sub --redundant` on two of three routers: one of its routers is killed under load. Nothing is missing, nothing comes twice, each
# source is in order, and no gap is shown. With one router it says so and goes on. With BOTH=1 the second router is killed 40 s
# later, when the routers have given the first one up and the receiver's lost session is whole at the third one.
# Exit 0: right. 1: wrong. 77: cannot be tried here. Needs $BIN (folder of millrace, millrace-router), bash, jq, curl.
BIN=${BIN:?folder of the binaries}
W=$(mktemp -d); export HOME=$W/home XDG_RUNTIME_DIR=$W/run; mkdir -p $HOME $XDG_RUNTIME_DIR
for v in ROUTER CA CERT KEY SEEDS LISTEN ADMIN CONFIG ADVERTISE; do unset MILLRACE_$v; done
PIDS=; trap 'for p in $PIDS; do kill -9 $p 2>/dev/null; done; wait 2>/dev/null; rm -rf $W' EXIT
wrong() { echo "WRONG: $*"; tail -5 $W/*.told 2>/dev/null; exit 1; }
N=0
router() { # arguments... ; sets RP (pid) RA (address) ADM (admin)
  N=$((N+1)); "$BIN/millrace-router" --ready-json --listen 127.0.0.1:0 --admin 127.0.0.1:0 --cores 2 "$@" >$W/ready$N 2>$W/err$N & RP=$!; PIDS="$PIDS $RP"
  for i in $(seq 100); do [ -s $W/ready$N ] && break; sleep 0.1; done
  RA=$(jq -r .addr $W/ready$N); ADM=$(jq -r .admin $W/ready$N); }
linked() { # admin peers
  for i in $(seq 100); do [ "$(curl -s http://$1/status | jq '[.mesh.peers[]? // .peers[]? | select(.state == "linked")] | length' 2>/dev/null)" = $2 ] && return; sleep 0.1; done; wrong "the routers do not link"; }
receivers() { curl -s http://$1/metrics | awk '/^millrace_receivers[ {]/ { n += $2 } END { print n + 0 }'; }
await() { # seconds what... : until the command succeeds
  local n=$1; shift; for i in $(seq $((n * 10))); do "$@" && return; sleep 0.1; done; return 1; }
came() { [ "$(grep -c '"type":"event"' $1)" -ge $2 ]; }

# One router: it says so, and goes on with that one.
router; A=$RA APID=$RP AADM=$ADM
timeout 60 "$BIN/millrace" --json sub --redundant -n 100 --router $A '*' >$W/one 2>$W/one.told & SUB=$!; PIDS="$PIDS $SUB"
await 10 grep -q '"stage":"cluster"' $W/one.told || wrong "no subscription at one router"
await 10 grep -q 'no second one is known' $W/one.told || wrong "it does not say that there is one router"
seq 100 | "$BIN/millrace" --router $A pub --lines -t n=1 -q || wrong "pub at one router"
wait $SUB || wrong "sub at one router"
seq 100 | cmp -s - <(jq -r 'select(.type == "event") | .payload' $W/one) || wrong "one router: not each event once"

LAST=12000; [ -z "$BOTH" ] || LAST=120000
# Three routers: the receiver is on A and another one, and the publisher at C.
router --seed $A; B=$RA BPID=$RP BADM=$ADM
router --seed $A --seed $B; C=$RA
linked $ADM 2; linked $BADM 2
timeout 100 "$BIN/millrace" --json sub --redundant --router $A,$B '*' >$W/two 2>$W/two.told & SUB=$!; PIDS="$PIDS $SUB"
await 10 grep -q '"stage":"cluster"' $W/two.told || wrong "no subscription"
on_both() { [ "$(receivers $AADM)" -ge 1 ] && [ "$(receivers $BADM)" -ge 1 ]; }
await 10 on_both || wrong "the receiver is not on two routers: $(receivers $AADM) $(receivers $BADM)"
mkfifo $W/lines
"$BIN/millrace" --router $C pub --lines -t n=1 -q <$W/lines & PUB=$!; PIDS="$PIDS $PUB"
(for n in $(seq 1 200 $LAST); do seq $n $((n + 199)); sleep 0.1; done) >$W/lines & PIDS="$PIDS $!"
await 10 came $W/two 3000 || wrong "nothing comes"
kill -9 $APID
await 20 came $W/two 6000 || wrong "nothing comes behind the kill"
if [ -n "$BOTH" ]; then sleep 40; kill -9 $BPID; fi
await 60 came $W/two $LAST || wrong "not all came: $(grep -c '"type":"event"' $W/two)"
kill -INT $SUB; wait $SUB
! grep '"type":"gap"' $W/two || wrong "a gap is shown"
seq $LAST | cmp -s - <(jq -r 'select(.type == "event") | .payload' $W/two) || wrong "not each event once, in order"
echo "right: $LAST events once and in order, through the end of a router"
