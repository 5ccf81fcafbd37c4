#!/bin/bash
# `pub --redundant` at two of three routers: one of its routers is killed under load, at each confirm level. Every event arrives once and
# in order, the summary knows what became of each, and the command exits with 0. With one router it says so and goes on. With BOTH=1 the
# second router is killed, too, later: the publisher goes on with the third one. A router that stands still for a while
# (SIGSTOP), and is not dead, brings its copies late: none is shown twice, and nothing waits.
# Exit 0: right. 1: wrong. 77: cannot be tried here. Needs $BIN (folder of millrace, millrace-router), bash, jq, curl.
. "$(dirname "$0")/lib/redundant.bash"

# One router: it says so, and goes on with that one.
router; A=$RA APID=$RP AADM=$ADM
timeout 100 "$BIN/millrace" --json sub -n 100 --router $A '*' >$W/one 2>$W/one.told & SUB=$!; PIDS="$PIDS $SUB"
await 30 grep -q '"stage":"cluster"' $W/one.told || wrong "no subscription at one router"
mkfifo $W/first
"$BIN/millrace" --json pub --redundant --router $A --lines -t n=1 <$W/first >$W/one.sum 2>$W/onepub.told & PUB=$!; PIDS="$PIDS $PUB"
exec 3>$W/first; seq 50 >&3
await 30 grep -q 'no second one is known' $W/onepub.told || wrong "it does not say that there is one router"
seq 51 100 >&3; exec 3>&-
wait $PUB || wrong "pub at one router"
wait $SUB || wrong "sub at one router"
once $W/one 100
[ "$(jq .confirmed $W/one.sum)" = 100 ] || wrong "not all are confirmed at one router"

# What cannot be is refused before anything is sent.
for other in "--standby s" "--to desk" "--spool $W/spool" "--connections per-core"; do
  "$BIN/millrace" --router $A pub --redundant $other x >/dev/null 2>&1; [ $? = 2 ] || wrong "--redundant $other is not refused"
done

# The publisher is at A and B, and the receiver at C, which is a router of its own.
LEVELS=${LEVELS:-routed none delivered} LAST=${LAST:-12000}
B=
for level in $LEVELS; do
  if [ -n "$B" ]; then kill -9 $BPID $CPID; router; A=$RA APID=$RP AADM=$ADM; fi
  router --seed $A; B=$RA BPID=$RP BADM=$ADM
  router --seed $A --seed $B; C=$RA CPID=$RP
  linked $AADM 2; linked $BADM 2
  timeout 200 "$BIN/millrace" --json sub --router $C '*' >$W/$level 2>$W/$level.told & SUB=$!; PIDS="$PIDS $SUB"
  await 30 grep -q '"stage":"cluster"' $W/$level.told || wrong "no subscription"
  mkfifo $W/lines.$level
  "$BIN/millrace" --json pub --redundant --confirm $level --router $A,$B,$C --lines -t n=1 <$W/lines.$level >$W/$level.sum 2>$W/pub.$level.told & PUB=$!; PIDS="$PIDS $PUB"
  publish $W/lines.$level $LAST & PIDS="$PIDS $!"
  await 30 came $W/$level 2000 || wrong "nothing comes at level $level"
  # A router that stands still shorter than it takes to be given up: its copies come late.
  kill -STOP $BPID; sleep 1; kill -CONT $BPID
  await 30 came $W/$level 5000 || wrong "nothing comes behind the pause at level $level"
  kill -9 $APID
  if [ -n "$BOTH" ]; then
    await 60 came $W/$level 8000 || wrong "nothing comes behind the kill at level $level"
    kill -9 $BPID
  fi
  wait $PUB || wrong "pub exits with $? at level $level"
  await 60 came $W/$level $LAST || wrong "not all came at level $level: $(grep -c '"type":"event"' $W/$level)"
  kill -INT $SUB; wait $SUB
  once $W/$level $LAST
  [ "$(jq .published $W/$level.sum)" = $LAST ] && [ "$(jq .unknown $W/$level.sum)" = 0 ] || wrong "the summary: $(cat $W/$level.sum)"
  [ $level = none ] || [ "$(jq .confirmed $W/$level.sum)" = $LAST ] || wrong "not all are confirmed: $(cat $W/$level.sum)"
  echo "level $level: $LAST events once and in order, $(jq .by_one $W/$level.sum) by one router only"
done
echo "right: each event once and in order, through a pause and the end of a router"
