#!/bin/bash
# A publisher whose events nobody wants is told so after 2 s and skips them; a subscriber on another router that was told
# "subscribed in the whole cluster" gets everything that is published from then on. With --quench off nothing is skipped.
# Exit 0: right. 1: wrong. 77: cannot be tried here. Needs $BIN (folder of millrace, millrace-router), bash, jq, curl.
BIN=${BIN:?folder of the binaries}
W=$(mktemp -d); export HOME=$W/home XDG_RUNTIME_DIR=$W/run; mkdir -p $HOME $XDG_RUNTIME_DIR
for v in ROUTER CA CERT KEY SEEDS LISTEN ADMIN CONFIG ADVERTISE; do unset MILLRACE_$v; done
PIDS=; trap 'exec 2>/dev/null; for p in $PIDS; do pkill -9 -P $p; kill -9 $p 2>/dev/null; done; wait 2>/dev/null; rm -rf $W' EXIT
wrong() { echo "WRONG: $*"; exit 1; }
N=0
router() { # arguments... ; sets RA (address) ADM (admin)
  N=$((N+1)); "$BIN/millrace-router" --ready-json --listen 127.0.0.1:0 --admin 127.0.0.1:0 --cores 2 "$@" >$W/ready$N 2>$W/err$N & PIDS="$PIDS $!"
  for i in $(seq 100); do [ -s $W/ready$N ] && break; sleep 0.1; done
  RA=$(jq -r .addr $W/ready$N); ADM=$(jq -r .admin $W/ready$N); }
linked() { for i in $(seq 100); do [ "$(curl -s http://$1/status | jq '[.mesh.peers[]? // .peers[]? | select(.state == "linked")] | length' 2>/dev/null)" = 1 ] && return; sleep 0.1; done; wrong "the routers do not link"; }
quenched() { curl -s http://$AADM/metrics | awk '/^millrace_quenched_tag_sets/ { sum += $2 } END { print sum + 0 }'; }

router; A=$RA AADM=$ADM
router --seed $A; B=$RA
linked $ADM

# Two publishers of the same kind: one may skip, the other may not.
mkfifo $W/auto $W/off
"$BIN/millrace" --json --router $A pub --lines --confirm none --linger 0s -t host=auto <$W/auto >$W/auto.json 2>$W/auto.err & AUTO=$!; PIDS="$PIDS $AUTO"
"$BIN/millrace" --json --router $A pub --lines --confirm none --linger 0s --quench off -t host=off <$W/off >$W/off.json 2>$W/off.err & OFF=$!; PIDS="$PIDS $OFF"
exec 3>$W/auto 4>$W/off
echo first >&3; echo first >&4
for i in $(seq 100); do [ "$(quenched)" = 1 ] && break; sleep 0.1; done
[ "$(quenched)" = 1 ] || wrong "$(quenched) tag sets are quenched, not 1"
seq -f 'nobody-%.0f' 1000 >&3; seq -f 'nobody-%.0f' 1000 >&4
sleep 0.5

timeout 60 "$BIN/millrace" --json --router $B sub 'host=auto' >$W/sub 2>$W/sub.told 3>&- 4>&- & PIDS="$PIDS $!"
for i in $(seq 100); do grep -q '"stage":"cluster"' $W/sub.told 2>/dev/null && break; sleep 0.05; done
grep '"stage":"cluster"' $W/sub.told | jq -e '.left_out_publishers == []' >/dev/null || wrong "$(cat $W/sub.told)"
[ "$(quenched)" = 0 ] || wrong "the tag set is quenched while somebody wants it"
seq -f 'wanted-%.0f' 1000 >&3
exec 3>&- 4>&-
for i in $(seq 100); do grep -q '"wanted-1000"' $W/sub && break; sleep 0.1; done
seq -f 'wanted-%.0f' 1000 >$W/expected
jq -r 'select(.type == "event") | .payload' $W/sub | grep '^wanted' | cmp -s - $W/expected || wrong "$(grep -c wanted $W/sub) of 1000 wanted events came"
wait $AUTO || wrong "pub ended with $?: $(tail -1 $W/auto.err)"
wait $OFF || wrong "pub --quench off ended with $?: $(tail -1 $W/off.err)"
jq -e '.quenched >= 900 and .quenched <= 1000 and .published == 2001 - .quenched' $W/auto.json >/dev/null || wrong "$(cat $W/auto.json)"
jq -e '.quenched == 0 and .published == 1001' $W/off.json >/dev/null || wrong "$(cat $W/off.json)"
echo "right: $(jq .quenched $W/auto.json) of 1000 events were skipped, and none of 1000 that somebody wanted"
