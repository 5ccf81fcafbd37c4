#!/bin/bash
# Two routers that keep history: `sub --since` and `--cursor` at one get what entered through the other, once, in order, with
# no gap; live events join; a router that is killed during its replay is named by a gap, and the rest goes on.
# Exit 0: right. 1: wrong. 77: cannot be tried here. Needs $BIN (folder of millrace, millrace-router), bash, jq, curl.
BIN=${BIN:?folder of the binaries}
W=$(mktemp -d); export HOME=$W/home XDG_RUNTIME_DIR=$W/run; mkdir -p $HOME $XDG_RUNTIME_DIR
for v in ROUTER CA CERT KEY SEEDS LISTEN ADMIN CONFIG ADVERTISE; do unset MILLRACE_$v; done
PIDS=; trap 'exec 2>/dev/null; for p in $PIDS; do pkill -9 -P $p; kill -9 $p 2>/dev/null; done; wait 2>/dev/null; rm -rf $W' EXIT
wrong() { echo "WRONG: $*"; exit 1; }
N=0
router() { # arguments... ; sets RP (pid) RA (address) ADM (admin)
  N=$((N+1)); "$BIN/millrace-router" --ready-json --listen 127.0.0.1:0 --admin 127.0.0.1:0 --cores 2 --history-bytes 64MiB "$@" >$W/ready$N 2>$W/err$N & RP=$!; PIDS="$PIDS $RP"
  for i in $(seq 100); do [ -s $W/ready$N ] && break; sleep 0.1; done
  RA=$(jq -r .addr $W/ready$N); ADM=$(jq -r .admin $W/ready$N); }
linked() { for i in $(seq 100); do [ "$(curl -s http://$1/status | jq '[.mesh.peers[]? // .peers[]? | select(.state == "linked")] | length' 2>/dev/null)" = 1 ] && return; sleep 0.1; done; wrong "the routers do not link"; }
publish() { # router key first last
  seq -f "$2-%.0f" $3 $4 | "$BIN/millrace" --router $1 pub --lines -t from=$2 -q || wrong "pub at $2"; }
events() { jq -r 'select(.type == "event") | .payload' "$1"; }
whole() { # file key first last: each of them once, in order
  events $1 | grep "^$2-" >$W/some
  seq -f "$2-%.0f" $3 $4 | cmp -s - $W/some || wrong "$1: $2 $3..$4 expected, $(wc -l <$W/some) came: $(head -1 $W/some)..$(tail -1 $W/some)"; }
gapless() { ! jq -c 'select(.type == "gap")' $1 | grep . || wrong "$1 has a gap"; }
subscribe() { # file arguments... ; ends at the count
  local file=$1; shift; timeout 60 "$BIN/millrace" --json sub "$@" >$file 2>$file.told || wrong "$file: sub ended with $?: $(tail -1 $file.told)"; }

router; A=$RA APID=$RP
router --seed $A; B=$RA
linked $ADM
publish $A a 1 3000; publish $B b 1 1000

subscribe $W/since --router $B --since 5m -n 4000 '*'
whole $W/since a 1 3000; whole $W/since b 1 1000; gapless $W/since
[ "$(jq -c 'select(.type == "event" and .replayed != true)' $W/since | wc -l)" = 0 ] || wrong "events of the past are not marked"

# Live events join the past, whichever router they enter through.
(for n in $(seq 3001 100 8000); do publish $A a $n $((n + 99)); done) & PIDS="$PIDS $!"
sleep 0.3
subscribe $W/join --router $B --since 5m -n 9000 '*'
whole $W/join a 1 8000; whole $W/join b 1 1000; gapless $W/join

# A cursor goes on where it was, at the other router, too.
subscribe $W/first --router $B --cursor $W/seen --since 5m -n 9000 '*'
publish $A a 8001 8500; publish $B b 1001 1200
subscribe $W/second --router $B --cursor $W/seen -n 700 '*'
whole $W/second a 8001 8500; whole $W/second b 1001 1200; gapless $W/second
publish $A a 8501 8600; publish $B b 1201 1300
subscribe $W/third --router $A --cursor $W/seen -n 200 '*'
whole $W/third a 8501 8600; whole $W/third b 1201 1300; gapless $W/third

# A router that is killed during its replay: a gap names it, and what the other one has comes all the same.
head -c 30000000 /dev/zero | tr '\0' x | fold -w 10000 | "$BIN/millrace" --router $A pub --lines -t from=big -q || wrong "pub of much"
timeout 60 "$BIN/millrace" --json sub --router $B --since 5m '*' >$W/killed 2>$W/killed.told & SUB=$!; PIDS="$PIDS $SUB"
for i in $(seq 1000); do [ -s $W/killed ] && break; sleep 0.005; done
kill -9 $APID
for i in $(seq 100); do jq -c 'select(.type == "gap")' $W/killed 2>/dev/null | grep -q router_lost && break; sleep 0.1; done
jq -c 'select(.type == "gap")' $W/killed | grep -q router_lost || wrong "no gap for the killed router"
publish $B b 1301 1310
for i in $(seq 100); do grep -q '"b-1310"' $W/killed && break; sleep 0.1; done
whole $W/killed b 1 1310
echo "right: $(events $W/killed | grep -c '^x') of 3000 large events came before the kill"
