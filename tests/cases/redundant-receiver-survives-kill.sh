#!/bin/bash
# `sub --redundant` on two of three routers: one of its routers is killed under load. Nothing is missing, nothing comes twice, each
# source is in order, and no gap is shown. With one router it says so and goes on. With BOTH=1 the second router is killed 40 s
# later, when the routers have given the first one up and the receiver's lost session is whole at the third one.
# Exit 0: right. 1: wrong. 77: cannot be tried here. Needs $BIN (folder of millrace, millrace-router), bash, jq, curl.
. "$(dirname "$0")/lib/redundant.bash"
receivers() { curl -s http://$1/metrics | awk '/^millrace_receivers[ {]/ { n += $2 } END { print n + 0 }'; }

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
publish $W/lines $LAST & PIDS="$PIDS $!"
await 10 came $W/two 3000 || wrong "nothing comes"
kill -9 $APID
await 20 came $W/two 6000 || wrong "nothing comes behind the kill"
if [ -n "$BOTH" ]; then sleep 40; kill -9 $BPID; fi
await 60 came $W/two $LAST || wrong "not all came: $(grep -c '"type":"event"' $W/two)"
kill -INT $SUB; wait $SUB
once $W/two $LAST
echo "right: $LAST events once and in order, through the end of a router"
