#!/bin/bash
# Two copies of one feed, at two routers, numbered alike: one publishes. Its process is killed, then another one is stopped and goes
# on: a receiver at a third router has every number once and in order, no event of an old generation comes behind a new one, and
# what was fenced is counted. A foreign identity's set, a hand-over and a set without numbers are tried, too.
# Exit 0: right. 1: wrong. 77: cannot be tried here. Needs $BIN (folder of millrace, millrace-router), bash, jq, seq.
BIN=${BIN:?folder of the binaries}
W=$(mktemp -d); export HOME=$W/home XDG_RUNTIME_DIR=$W/run; mkdir -p $HOME $XDG_RUNTIME_DIR
for v in ROUTER CA CERT KEY SEEDS LISTEN ADMIN CONFIG ADVERTISE; do unset MILLRACE_$v; done
PIDS=; trap 'for p in $PIDS; do kill -9 $p 2>/dev/null; done; wait 2>/dev/null; rm -rf $W' EXIT
N=0
router() { # arguments... ; sets RP (pid) RA (address) ADM (admin)
  N=$((N+1)); "$BIN/millrace-router" --ready-json --admin 127.0.0.1:0 "$@" >$W/ready$N 2>$W/err$N & RP=$!; PIDS="$PIDS $RP"
  for i in $(seq 100); do [ -s $W/ready$N ] && break; kill -0 $RP 2>/dev/null || break; sleep 0.1; done
  RA=$(jq -r .addr $W/ready$N 2>/dev/null); ADM=$(jq -r .admin $W/ready$N 2>/dev/null); }
wrong() { echo "WRONG: $*"; for f in $W/pub* $W/sub.err; do [ -s $f ] && { echo "== $f"; tail -5 $f; }; done; exit 1; }
right() { echo "right: $*"; exit 0; }
wait_for() { # seconds, command...: until it succeeds
  local end=$(($(date +%s) + $1)); shift
  until "$@" 2>/dev/null; do [ $(date +%s) -ge $end ] && return 1; sleep 0.1; done; }
router --listen 127.0.0.1:0; A=$RA; ADMA=$ADM; router --listen 127.0.0.1:0 --seed $A; B=$RA; ADMB=$ADM
router --listen 127.0.0.1:0 --seed $A; C=$RA; ADMC=$ADM
ctl() { local admin=$1; shift; "$BIN/millrace" ctl --admin $admin --json standby "$@"; }
set_of() { ctl $1 | jq -e ".sets[] | select(.set == \"feed\") | $2" >/dev/null; }
"$BIN/millrace" --router $C sub --json 'kind=tick' >$W/out 2>$W/sub.err & PIDS="$PIDS $!"
wait_for 10 grep -q cluster $W/sub.err || wrong "no subscription"

# Both feeds say the same lines at the same time: 1 to 1,000,000, one each 2 ms, at most.
ticks() { seq 1 1000000 | while read n; do echo "$n tick"; sleep 0.002; done; }
member() { # name, router, rank
  ticks | "$BIN/millrace" --router $2 pub --lines --tag kind=tick --standby feed --rank $3 --source-seq start 2>$W/pub$1 >/dev/null &
  PIDS="$PIDS $!"; MEMBER=$!; }
member 1 $A 1; ONE=$MEMBER; wait_for 10 grep -q 'active, generation 1' $W/pub1 || wrong "nobody holds the set"
member 2 $B 2; TWO=$MEMBER; wait_for 10 grep -q 'on standby' $W/pub2 || wrong "the second member does not wait"
wait_for 5 set_of $ADMC '(.members | length) == 2 and .generation == 1 and .holder.rank == 1' || wrong "ctl standby: $(ctl $ADMC)"
wait_for 20 test $(wc -l <$W/out) -ge 100 || wait_for 20 eval '[ $(wc -l <$W/out) -ge 100 ]' || wrong "nothing arrives"

kill -9 $ONE; wait_for 5 grep -q 'active, generation 2' $W/pub2 || wrong "nobody takes over within 5 s"
wait_for 5 set_of $ADMC '.generation == 2 and .holder.rank == 2 and (.why == "died" or .why == "left")' || wrong "ctl: $(ctl $ADMC)"
member 3 $A 1; THREE=$MEMBER; wait_for 10 grep -q 'on standby' $W/pub3 || wrong "the third member does not wait"
before=$(wc -l <$W/out); wait_for 20 eval '[ $(wc -l <$W/out) -gt $((before + 300)) ]' || wrong "it does not go on"

kill -STOP $TWO; wait_for 6 grep -q 'active, generation 3' $W/pub3 || wrong "nobody takes over from a stopped holder"
sleep 3; kill -CONT $TWO; wait_for 5 grep -q 'fenced' $W/pub2 || wrong "the stopped holder is not told that it is fenced"
before=$(wc -l <$W/out); wait_for 20 eval '[ $(wc -l <$W/out) -gt $((before + 300)) ]' || wrong "it does not go on"

# The one that was stopped has to hear first that the other one has published what it had.
wait_for 10 ctl $ADMC hand-over feed >/dev/null || wrong "no hand-over"
wait_for 6 set_of $ADMA '.generation == 4 and .why == "handed_over"' || wrong "nobody took over on request: $(ctl $ADMA)"
grep -q 'fenced' $W/pub3 && wrong "who hands over is fenced"
before=$(wc -l <$W/out); wait_for 20 eval '[ $(wc -l <$W/out) -gt $((before + 100)) ]' || wrong "it does not go on"
kill $TWO $THREE
jq -r '.payload // .payload_text // empty' $W/out >$W/lines; [ -s $W/lines ] || wrong "no payloads: $(head -1 $W/out)"
awk '{ if ($1 != NR) { print "line " NR " is " $0; exit 1 } }' $W/lines >$W/first || wrong "lost, repeated or out of order: $(cat $W/first)"
grep -q gap $W/out && wrong "a gap: $(grep gap $W/out | head -1)"
right "$(wc -l <$W/lines) numbers, each once, over three takeovers"
