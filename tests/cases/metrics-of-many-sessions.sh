#!/bin/bash
# /metrics of a router with many sessions: no series more than with none, but for the hottest tags; fewer than 2,000; and the
# median of 21 scrapes under load within 50 ms, in the best of three tries. SESSIONS: how many (2,000). JUDGE_TIME=0: time is told and not judged, for
# programs that are not optimised.
# Exit 0: right. 1: wrong. 77: cannot be tried here. Needs $BIN (folder of millrace-router, millrace-loadgen), bash, jq, curl.
BIN=${BIN:?folder of the binaries} SESSIONS=${SESSIONS:-2000} JUDGE_TIME=${JUDGE_TIME:-1}
W=$(mktemp -d); export HOME=$W/home XDG_RUNTIME_DIR=$W/run; mkdir -p $HOME $XDG_RUNTIME_DIR
for v in ROUTER CA CERT KEY SEEDS LISTEN ADMIN CONFIG ADVERTISE; do unset MILLRACE_$v; done
PIDS=; trap 'for p in $PIDS; do kill -9 $p 2>/dev/null; done; wait 2>/dev/null; rm -rf $W' EXIT
wrong() { echo "WRONG: $*"; exit 1; }
page() { curl -sS http://$ADM/metrics; }
# Names and labels alone.
series() { page | grep -v '^#' | sed 's/ [^ ]*$//' | grep -v '^millrace_hot_tag_share' | sort; }
sessions() { page | awk '/^millrace_clients\{/ { sum += $2 } END { print sum + 0 }'; }

"$BIN/millrace-router" --ready-json --listen 127.0.0.1:0 --admin 127.0.0.1:0 --cores 2 >$W/ready 2>$W/err & PIDS="$PIDS $!"
for i in $(seq 200); do [ -s $W/ready ] && break; sleep 0.1; done
[ -s $W/ready ] || wrong "the router does not start: $(tail -3 $W/err)"
ADM=$(jq -r .admin $W/ready)
# The router's own canary has its series from its first round on.
for i in $(seq 100); do page | grep -q '^millrace_canary_round_trip_seconds_count' && break; sleep 0.1; done
series >$W/none
# Every client is a connection of its own; ten publish for each that receives.
"$BIN/millrace-loadgen" run --preset fleet --connections $SESSIONS --router $(jq -r .addr $W/ready) --ca $(jq -r .ca $W/ready) \
  --rate 2000 --duration 60s --no-step-down --quiet >$W/load 2>&1 & LOAD=$!; PIDS="$PIDS $LOAD"
for i in $(seq 600); do [ "$(sessions)" -ge $SESSIONS ] && break; kill -0 $LOAD 2>/dev/null || wrong "the load ends: $(tail -3 $W/load)"; sleep 0.2; done
[ "$(sessions)" -ge $SESSIONS ] || wrong "only $(sessions) of $SESSIONS sessions"

series >$W/many
more=$(comm -13 $W/none $W/many)
[ -z "$more" ] || wrong "series that come with sessions: $(head -3 <<<"$more")"
count=$(page | grep -vc '^#')
[ "$count" -lt 2000 ] || wrong "$count series"
# A host that is busy with something else for a moment has two more tries.
for try in 1 2 3; do
  for i in $(seq 21); do curl -sS -o $W/page -w '%{time_total}\n' http://$ADM/metrics; sleep 0.1; done | sort -g >$W/times
  median=$(sed -n 11p $W/times)
  awk -v median=$median -v judge=$JUDGE_TIME 'BEGIN { exit !(judge == 0 || median < 0.050) }' && break
  [ $try -lt 3 ] || wrong "a scrape takes $median s (median of 21)"
done
[ "$(sessions)" -ge $SESSIONS ] || wrong "sessions have ended meanwhile: $(sessions)"
echo "right: $SESSIONS sessions, $count series, $(stat -c %s $W/page) bytes; a scrape takes $median s (median), $(tail -1 $W/times) s at most"
