#!/bin/bash
# A group over two routers, under load: a member of level 1 is killed (kill -9), another one is stopped (SIGSTOP) and goes on, all
# members are killed and one comes back, the publisher begins again: each event is printed, none twice but with a mark, and
# level 2 gets something within seconds of the kill. `--exclusive` gives everything to one member, and to the next when that is
# killed. `ctl groups --json` says the level in use, who has what, and why it changed.
# Exit 0: right. 1: wrong. 77: cannot be tried here. Needs $BIN (folder of millrace, millrace-router), bash, jq.
BIN=${BIN:?folder of the binaries}
W=$(mktemp -d); export HOME=$W/home XDG_RUNTIME_DIR=$W/run; mkdir -p $HOME $XDG_RUNTIME_DIR
for v in ROUTER CA CERT KEY SEEDS LISTEN ADMIN CONFIG ADVERTISE; do unset MILLRACE_$v; done
PIDS=; trap 'for p in $PIDS; do kill -9 $p 2>/dev/null; done; wait 2>/dev/null; rm -rf $W' EXIT
wrong() { echo "WRONG: $*"; tail -3 $W/*.told 2>/dev/null; exit 1; }
router() { # name arguments... ; sets RA ADM
  local n=$1; shift
  "$BIN/millrace-router" --ready-json --admin 127.0.0.1:0 --listen 127.0.0.1:0 "$@" >$W/$n.ready 2>$W/$n.err & PIDS="$PIDS $!"
  for i in $(seq 200); do [ -s $W/$n.ready ] && break; sleep 0.1; done; RA=$(jq -r .addr $W/$n.ready); ADM=$(jq -r .admin $W/$n.ready); }
router a --cores 2; A=$RA AADM=$ADM; router b --cores 2 --seed $A; B=$RA
member() { # name router arguments... ; sets P
  local n=$1 r=$2; shift 2
  "$BIN/millrace" --json --router $r sub "$@" >$W/$n.out 2>$W/$n.told & P=$!; PIDS="$PIDS $P"; disown $P
  for i in $(seq 200); do grep -q '"stage":"cluster"' $W/$n.told && return; kill -0 $P 2>/dev/null || break; sleep 0.1; done; wrong "$n does not join"; }
feed() { # first last [seconds between twenty] ; sets FEED
  (for n in $(seq $1 20 $2); do seq $n $((n + 19)); sleep ${3:-0.02}; done) | "$BIN/millrace" --json --router $A pub --confirm delivered --lines -t k=w >$W/sum.$1 2>$W/pub.$1.told & FEED=$!; PIDS="$PIDS $FEED"; }
printed() { cat $W/g*.out | jq -r 'select(.type == "event") | .payload' 2>/dev/null | sort -n | uniq | wc -l; }
has() { jq -r 'select(.type == "event") | .payload' $1 2>/dev/null | wc -l; }
await() { local n=$1; shift; for i in $(seq $((n * 10))); do "$@" && return; sleep 0.1; done; return 1; }
more() { [ $(has $1) -gt $2 ]; }
groups() { "$BIN/millrace" --json ctl --admin $AADM groups 2>/dev/null || "$BIN/millrace" --json --admin $AADM ctl groups; }

member g1 $A --group g 'k'; G1=$P; member g2 $B --group g 'k'; G2=$P
member g3 $B --group g --level 2 'k'; G3=$P
feed 1 3000 0.05
busy() { more $W/g1.out 100 || more $W/g2.out 100; }
await 20 busy || wrong "nobody gets anything"
# There is one tag set, so that one member has all: that one is killed.
OTHER=g2; [ $(has $W/g2.out) -gt $(has $W/g1.out) ] && { OTHER=g1; P=$G1 G1=$G2 G2=$P; }
[ $(has $W/g3.out) = 0 ] || wrong "level 2 gets something while level 1 is there"
kill -9 $G1; await 10 more $W/$OTHER.out $(($(has $W/$OTHER.out) + 20)) || wrong "the other member of level 1 does not go on"
kill -STOP $G2; BEFORE=$(has $W/g3.out)
await 10 more $W/g3.out $BEFORE || wrong "level 2 does not take over from a stopped member"
kill -CONT $G2
wait $FEED; CODE=$?
await 60 test "$(printed)" != x; for i in $(seq 600); do [ $(printed) -ge 3000 ] && break; sleep 0.1; done
[ $(printed) = 3000 ] || wrong "$(printed) of 3000 events are printed"
TWICE=$(cat $W/g*.out | jq -r 'select(.type == "event" and (.maybe_duplicate | not)) | .payload' | sort | uniq -d | wc -l)
[ $TWICE = 0 ] || wrong "$TWICE events are printed twice without a mark"
[ $CODE = 0 ] || wrong "the publisher exits with $CODE: $(cat $W/sum.1)"
groups >$W/groups.json || wrong "ctl groups"
jq -e . $W/groups.json >/dev/null || wrong "ctl groups --json is no JSON"
for word in level in_flight room reason; do grep -q $word $W/groups.json || wrong "ctl groups --json says no $word: $(head -c 600 $W/groups.json)"; done

# All are killed while somebody publishes; the first member that comes back has what waited.
kill -9 $G2 $G3; member g4 $B --group g 'k'; G4=$P; kill -STOP $G4; sleep 2
feed 3001 3200; sleep 1; kill -9 $G4; member g5 $A --group g --level 3 'k'; G5=$P
wait $FEED; for i in $(seq 400); do [ $(printed) -ge 3200 ] && break; sleep 0.1; done
[ $(printed) = 3200 ] || wrong "$(printed) of 3200 events are printed behind the end of all members"
kill $G5

# One for all.
member e1 $A --group e --exclusive 'k'; E1=$P; member e2 $B --group e --exclusive 'k'; E2=$P; member e3 $B --group e --exclusive 'k'; E3=$P
feed 4001 4400; wait $FEED; sleep 1
HAVE="$(has $W/e1.out) $(has $W/e2.out) $(has $W/e3.out)"
[ "$(echo $HAVE | tr ' ' '\n' | grep -c '^0$')" = 2 ] || wrong "--exclusive: $HAVE"
for e in "$E1 e1" "$E2 e2" "$E3 e3"; do set -- $e; [ $(has $W/$2.out) -gt 0 ] && { kill -9 $1; FIRST=$2; }; done
feed 5001 5400; wait $FEED; sleep 2
ALL=$(cat $W/e?.out | jq -r 'select(.type == "event") | .payload' | sort -n | uniq | wc -l)
[ $ALL = 800 ] || wrong "--exclusive: $ALL of 800 events behind the kill of $FIRST"
N=0; for e in e1 e2 e3; do [ $(jq -r 'select(.type == "event") | .payload' $W/$e.out 2>/dev/null | awk '$1 > 5000' | wc -l) -gt 0 ] && N=$((N+1)); done
[ $N = 1 ] || wrong "--exclusive: $N members get events behind the kill"
echo "right: each event is printed, with a mark where it may come twice"
