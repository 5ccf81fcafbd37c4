#!/bin/bash
# The disk of a host is full (tmpfs of 16 MiB) and there is no router: the agent must go on as on_full says, count and tell what it sheds,
# and send the rest when there is a router.
# Exit 0: right. 1: wrong. 77: cannot be tried here (no root). Needs $BIN (folder of millrace, millrace-router, millrace-agent), bash, jq, curl.
BIN=${BIN:?folder of the binaries}
W=$(mktemp -d); export HOME=$W/home XDG_RUNTIME_DIR=$W/run; mkdir -p $HOME $XDG_RUNTIME_DIR
for v in $(compgen -e | grep '^MILLRACE_'); do unset $v; done
PIDS=; trap 'for p in $PIDS $A; do kill -9 $p 2>/dev/null; done; wait 2>/dev/null; umount $W/disk 2>/dev/null; rm -rf $W' EXIT
wrong() { echo "WRONG: $*"; tail -3 $W/agent.log; exit 1; }
mkdir $W/disk; mount -t tmpfs -o size=16m tmpfs $W/disk 2>/dev/null || { echo "cannot mount"; exit 77; }
"$BIN/millrace-router" --ready-json --listen 127.0.0.1:0 --admin 127.0.0.1:0 >$W/ready 2>$W/router & PIDS="$PIDS $!"
for i in $(seq 600); do [ -s $W/ready ] && break; sleep 0.1; done
ROUTER=$(jq -r .addr $W/ready)
"$BIN/millrace" sub --router $ROUTER 'case=full' --json >$W/got 2>$W/acks & PIDS="$PIDS $!"
"$BIN/millrace" sub --router $ROUTER 'millrace=agent,what=shed' --json >$W/told 2>$W/acks2 & PIDS="$PIDS $!"
for file in acks acks2; do for i in $(seq 600); do grep -q cluster $W/$file && break; sleep 0.1; done; done
agent() { # ROUTER POLICY
  rm -f $W/agent.json
  "$BIN/millrace-agent" --router $1 --spool $W/disk/$2 --spool-full $2 --socket $W/agent.sock --http off --syslog-udp off --syslog-tcp off \
    --admin off --fqdn web-1 --ready-json >$W/agent.json 2>>$W/agent.log & A=$!
  for i in $(seq 600); do [ -s $W/agent.json ] && return; sleep 0.05; done
  wrong "$2: the agent does not start"
}
producer() { curl -s --unix-socket $W/agent.sock http://agent/status | jq ".producers[] | select(.name == \"uid-$(id -u)\") | .$1"; }
head -c 900000 /dev/zero | tr '\0' x >$W/body
expected=0
for full in refuse shed-newest shed-oldest; do
  agent 127.0.0.1:9 $full
  codes=; for n in $(seq 30); do
    codes="$codes $(curl -s -m 60 -o /dev/null -w '%{http_code}' --unix-socket $W/agent.sock --data-binary @$W/body "http://agent/events?tag=case=full&tag=n=$n")"
  done
  taken=$(grep -o 202 <<<"$codes" | wc -l) no=$(grep -o 507 <<<"$codes" | wc -l)
  [ $((taken + no)) = 30 ] || wrong "$full: $codes"
  read -r pending shed < <(echo $(producer pending) $(producer shed))
  free=$(df --output=avail -B1 $W/disk | tail -1)
  [ "$free" -ge 1677721 ] || wrong "$full: $free bytes are free, less than a tenth"
  case $full in
    refuse) [ $no -gt 0 ] && [ $pending = $taken ] && [ $shed = 0 ] || wrong "$full: $taken taken, $pending pending, $shed shed" ;;
    shed-newest) [ $no -gt 0 ] && [ $pending = $taken ] && [ $shed = $no ] || wrong "$full: $taken taken, $pending pending, $shed shed" ;;
    shed-oldest) [ $no = 0 ] && [ $shed -gt 0 ] && [ $((pending + shed)) = 30 ] || wrong "$full: $pending pending, $shed shed, $no refused" ;;
  esac
  kill $A; wait $A
  before=$(jq -c 'select(.seq != null)' $W/got | wc -l)
  agent $ROUTER $full
  for i in $(seq 600); do [ "$(curl -s --unix-socket $W/agent.sock http://agent/status | jq .pending)" = 0 ] && break; sleep 0.1; done
  for i in $(seq 600); do arrived=$(($(jq -c 'select(.seq != null)' $W/got | wc -l) - before)); [ $arrived -ge $pending ] && break; sleep 0.1; done
  [ $arrived = $pending ] || wrong "$full: $pending events were pending, $arrived arrived"
  expected=$((expected + shed))
  for i in $(seq 600); do
    told=$(jq -r 'select(.seq != null) | .payload | fromjson | .events' $W/told | awk '{ sum += $1 } END { print sum + 0 }')
    [ "$told" -ge "$expected" ] && break; sleep 0.1
  done
  [ "$told" -ge "$expected" ] || wrong "$full: $expected were shed so far, $told told"
  kill $A; wait $A; rm -rf $W/disk/$full
done
echo "right: refused, shed, counted and told on a full disk"
