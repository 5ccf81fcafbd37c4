#!/bin/bash
# The agent of a host is killed (kill -9) again and again while scripts publish through its socket, with and without a router: what it
# answered 202 must arrive, once, in its order, with the id of the answer. The router keeps history, so that a receiver whose connection is
# lost on a host without time goes on where it was.
# Exit 0: right. 1: wrong. 77: cannot be tried here. Needs $BIN (folder of millrace, millrace-router, millrace-agent), bash, jq, curl.
# $ROUNDS: kills, 20.
BIN=${BIN:?folder of the binaries}
W=$(mktemp -d); export HOME=$W/home XDG_RUNTIME_DIR=$W/run; mkdir -p $HOME $XDG_RUNTIME_DIR
for v in $(compgen -e | grep '^MILLRACE_'); do unset $v; done
PIDS=; trap 'for p in $PIDS $A; do kill -9 $p 2>/dev/null; done; wait 2>/dev/null; rm -rf $W' EXIT
wrong() { echo "WRONG: $*"; tail -3 $W/agent.log; exit 1; }
ROUNDS=${ROUNDS:-20}
"$BIN/millrace-router" --ready-json --listen 127.0.0.1:0 --admin 127.0.0.1:0 --history-bytes 64MiB >$W/ready 2>$W/router & PIDS="$PIDS $!"
for i in $(seq 600); do [ -s $W/ready ] && break; sleep 0.1; done
ROUTER=$(jq -r .addr $W/ready)
"$BIN/millrace" sub --router $ROUTER 'case=killed' --since 1s --json >$W/got 2>$W/acks & PIDS="$PIDS $!"
for i in $(seq 600); do grep -q cluster $W/acks && break; sleep 0.1; done
agent() { # ROUTER
  rm -f $W/agent.json
  "$BIN/millrace-agent" --router $1 --spool $W/spool --spool-free 0 --socket $W/agent.sock --http off --syslog-udp off --syslog-tcp off \
    --admin off --fqdn web-1 --ready-json >$W/agent.json 2>>$W/agent.log & A=$!
  for i in $(seq 600); do [ -s $W/agent.json ] && return; sleep 0.05; done
  wrong "the agent does not start"
}
say() { curl -s -m 60 --unix-socket $W/agent.sock -d "$1" 'http://agent/events?tag=case=killed'; }
: >$W/taken
N=0
for round in $(seq $ROUNDS); do
  # Every other round without a router: nobody is at that port.
  [ $((round % 2)) = 0 ] && agent $ROUTER || agent 127.0.0.1:9
  ( while :; do N=$((N + 1)); answer=$(say $N); case $answer in *accepted*) echo "$(jq -r .id <<<"$answer") $N" ;; *) exit ;; esac; done >>$W/taken ) & WRITER=$!
  # It is killed while it works: on a busy machine its first answer takes longer than what follows.
  for i in $(seq 1200); do [ "$(tail -n 1 $W/taken | cut -d' ' -f2)" = "${LAST:-}" ] || break; sleep 0.05; done
  sleep 0.$(printf %03d $((RANDOM % 200 + 60)))
  kill -9 $A; wait $A $WRITER
  N=$(tail -n 1 $W/taken | cut -d' ' -f2)
  LAST=$N
  N=$((${N:-0} + 1))  # its event may be in the spool, and was not answered
done 2>/dev/null
agent $ROUTER
[ "$(say last)" ] || wrong "no answer at the end"
status() { curl -s --unix-socket $W/agent.sock http://agent/status; }
for i in $(seq 600); do [ "$(status | jq .pending)" = 0 ] && break; sleep 0.1; done
[ "$(status | jq .pending)" = 0 ] || wrong "$(status | jq .pending) events are pending"
for i in $(seq 600); do jq -e 'select(.payload == "last")' $W/got >/dev/null && break; sleep 0.1; done
jq -r 'select(.seq != null) | .seq' $W/got | sort -n | uniq -d | grep -q . && wrong "an event arrived twice"
jq -r 'select(.seq != null) | "\(.payload)"' $W/got >$W/payloads
LOST=$(comm -23 <(cut -d' ' -f2 $W/taken | sort) <(sort $W/payloads))
[ -z "$LOST" ] || wrong "these events were answered 202 and did not arrive:" $LOST "gaps:" $(grep '"gap"' $W/got)
grep -v last $W/payloads | sort -nc 2>/dev/null || wrong "events are out of order"
kill $A; wait $A || wrong "exit code $? at the end"
[ -e $W/agent.sock ] && wrong "the socket is left"
TAKEN=$(wc -l <$W/taken)
[ "$TAKEN" -ge "$ROUNDS" ] || wrong "only $TAKEN events in $ROUNDS rounds"
echo "right: $ROUNDS kills, $TAKEN answered events, each once"
