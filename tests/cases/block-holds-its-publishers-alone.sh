#!/bin/bash
# Receivers with --policy block on two routers of two cores stand still, all of them. The publishers of their events wait, at the
# other router, too, for longer than routers pace anybody; meanwhile another publisher's events are confirmed at level delivered at
# once, and who subscribes anew is effective in the cluster at once. When the receivers go on, each has every event, once and in
# order, without a gap, and every event is confirmed.
# Exit 0: right. 1: wrong. 77: cannot be tried here. Needs $BIN (folder of millrace, millrace-router), bash, jq, curl.
. "$(dirname "$0")/lib/redundant.bash"
LAST=${LAST:-6000} PUBLISHERS=7
ALL=$((LAST * PUBLISHERS))
# Some 14 MB of all: more than what routers, windows and pipes hold of it. A publisher has 1 MiB under way at most, so that it takes
# several to fill half of a queue.
numbers() { seq -f '%0300.0f' $LAST; }
paced() { curl -s http://$1/metrics | awk '/^millrace_publishers_paced_total/ { n += $2 } END { print n + 0 }'; }
entered() { curl -s http://$1/metrics | awk '/^millrace_ingress_events_total/ { n += $2 } END { print n + 0 }'; }
dropped() { curl -s http://$1/metrics | awk '/^millrace_dropped_events_total/ { n += $2 } END { print n + 0 }'; }

# Without canaries, whose events are counted, too.
router --canary-every 0s; A=$RA AADM=$ADM
router --canary-every 0s --seed $A; B=$RA BADM=$ADM
linked $AADM 1
# Each stands still: it may only write what fits the pipe, until somebody reads that.
for n in 1 2 3 4; do
  mkfifo $W/pipe$n; exec {fd}<>$W/pipe$n; FDS[$n]=$fd
  at=$A; [ $((n % 2)) = 0 ] || at=$B
  "$BIN/millrace" --json sub --router $at --policy block --queue 256KiB -n $ALL stood=yes >$W/pipe$n 2>$W/still$n.told & SUBS[$n]=$!; PIDS="$PIDS $!"
  await 10 grep -q '"stage":"cluster"' $W/still$n.told || wrong "no subscription of receiver $n"
done
for p in $(seq $PUBLISHERS); do
  numbers | "$BIN/millrace" --json pub --router $A --lines -t stood=yes -t of=$p --confirm delivered --timeout 90s >$W/held$p 2>$W/held$p.told & PUBS[$p]=$!; PIDS="$PIDS $!"
done
sleep 3; before=$(entered $AADM); sleep 2; after=$(entered $AADM)
for p in $(seq $PUBLISHERS); do kill -0 ${PUBS[$p]} 2>/dev/null || wrong "publisher $p does not wait: $(cat $W/held$p)"; done
[ "$after" -lt $ALL ] || wrong "all events are in the routers: nobody waits"
[ "$before" = "$after" ] || wrong "publishers go on while their receivers stand still: $before, then $after"
[ "$(paced $AADM)" -gt 0 ] || wrong "no publisher was held"

# Others pass: who subscribes, at either router, and who publishes and is confirmed.
for at in $A $B; do
  begun=$(date +%s%3N)
  timeout 20 "$BIN/millrace" --json sub --router $at -n 100 free=yes >$W/free 2>$W/free.told & FREE=$!; PIDS="$PIDS $FREE"
  await 10 grep -q '"stage":"cluster"' $W/free.told || wrong "nobody can subscribe meanwhile"
  seq 100 | timeout 20 "$BIN/millrace" pub --router $B --lines -t free=yes --confirm delivered -q || wrong "others are not confirmed meanwhile"
  wait $FREE || wrong "others do not receive meanwhile"
  echo "others: subscribed, published, confirmed and received within $(($(date +%s%3N) - begun)) ms"
done
[ "$(entered $AADM)" -ge "$after" ] || wrong "counters fell"

# The receivers go on.
for n in 1 2 3 4; do cat <&${FDS[$n]} >$W/came$n & PIDS="$PIDS $!"; done
for p in $(seq $PUBLISHERS); do wait ${PUBS[$p]} || wrong "not every event of publisher $p is confirmed: $(cat $W/held$p)"; done
for n in 1 2 3 4; do
  wait ${SUBS[$n]} || wrong "receiver $n ended"
  await 10 came $W/came$n $ALL || wrong "receiver $n has $(grep -c '"type":"event"' $W/came$n) of $ALL"
  ! grep -q '"type":"gap"' $W/came$n || wrong "a gap is shown at receiver $n"
  for p in $(seq $PUBLISHERS); do
    numbers | cmp -s - <(jq -r --arg of $p 'select(.type == "event" and .tags.of == $of) | .payload' $W/came$n) || wrong "not each event of publisher $p once, in order, at receiver $n"
  done
done
[ "$(dropped $AADM)" = 0 ] && [ "$(dropped $BADM)" = 0 ] || wrong "events were dropped: $(dropped $AADM), $(dropped $BADM)"
echo "right: $ALL events at each of 4 receivers that stood still, and nobody else waited"
