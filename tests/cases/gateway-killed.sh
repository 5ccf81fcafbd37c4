#!/bin/bash
# A gateway is killed (kill -9) again and again and started on the same addresses while programs publish through its HTTP door, its WebSocket
# and its MQTT door, and others receive: what was confirmed at level `routed` must have arrived, and a stream that comes back with its Last-Event-ID must miss
# nothing of it. Who is not answered sends again, as clients do, so an event may arrive twice and none may be missing.
# Exit 0: right. 1: wrong. 77: cannot be tried here. Needs $BIN (folder of millrace, millrace-router, millrace-gateway), bash, jq, curl, and
# for the others a $PYTHON with paho-mqtt and websockets. $ROUNDS: kills, 10.
BIN=${BIN:?folder of the binaries}
PYTHON=${PYTHON:-python3}
W=$(mktemp -d); export HOME=$W/home XDG_RUNTIME_DIR=$W/run; mkdir -p $HOME $XDG_RUNTIME_DIR
for v in $(compgen -e | grep '^MILLRACE_'); do unset $v; done
PIDS=; trap 'touch $W/stop; for p in $PIDS $G; do kill -9 $p 2>/dev/null; done; wait 2>/dev/null; rm -rf $W' EXIT
wrong() { echo "WRONG: $*"; tail -3 $W/gateway.log; exit 1; }
await() { for i in $(seq 600); do "$@" 2>/dev/null && return; sleep 0.1; done; wrong "not within a minute: $*"; }
ROUNDS=${ROUNDS:-10}
"$BIN/millrace-router" --ready-json --listen 127.0.0.1:0 --admin 127.0.0.1:0 --history-bytes 64MiB >$W/ready 2>$W/router & PIDS="$PIDS $!"
await test -s $W/ready
ROUTER=$(jq -r .addr $W/ready)
"$BIN/millrace" sub --router $ROUTER 'case=killed' --json >$W/got 2>$W/acks & PIDS="$PIDS $!"
await grep -q cluster $W/acks
HTTP=127.0.0.1:0 MQTT=127.0.0.1:0
gateway() { # the first one finds addresses, and the others take them over
  rm -f $W/gateway.json
  "$BIN/millrace-gateway" --router $ROUTER --http $HTTP --mqtt $MQTT --admin off --ready-json >$W/gateway.json 2>>$W/gateway.log & G=$!
  await test -s $W/gateway.json
  HTTP=$(jq -r .http $W/gateway.json) MQTT=$(jq -r .mqtt $W/gateway.json)
}
gateway
# A stream that goes on where it was.
stream() {
  local last=
  while [ ! -e $W/streamed ]; do
    curl -sN "http://$HTTP/events?select=case=killed&format=jsonl${last:+&cursor=$last}" >>$W/stream
    last=$(grep -o '"cursor":"[^"]*","id"' $W/stream | tail -n 1 | cut -d'"' -f4)
    sleep 0.02
  done
}
stream & PIDS="$PIDS $!"
await grep -q subscribed $W/stream
# Sends each number until it is confirmed.
publish() { # WHAT
  local n=0 answer
  while [ ! -e $W/stop ]; do
    answer=$(curl -s -m 60 -d "$1 $n" "http://$HTTP/events?tag=case=killed") || { sleep 0.02; continue; }
    case $answer in *'"confirmed"'*) echo "$1 $n" >>$W/confirmed; n=$((n + 1)) ;; *) sleep 0.02 ;; esac
  done
}
: >$W/confirmed
writers=
for name in a b c; do publish $name & writers="$writers $!"; done
if "$PYTHON" -c 'import paho.mqtt' 2>/dev/null; then
  # Each has one message on its way, which paho sends again at its next connection.
  "$PYTHON" - ${MQTT%:*} ${MQTT##*:} $W <<'PY' & writers="$writers $!"
import os, sys, threading
import paho.mqtt.client as paho
host, port, folder = sys.argv[1], int(sys.argv[2]), sys.argv[3]
client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id="killed", protocol=paho.MQTTv5)
client.reconnect_delay_set(1, 1)
def acknowledged(_, __, mid, reason, ___):
    if reason.getName() == "Success":
        with open(f"{folder}/confirmed", "a") as file:
            file.write(f"mqtt {number}\n")
    answered.set()
client.on_publish = acknowledged
client.connect(host, port)
client.loop_start()
answered = threading.Event()
case = paho.Properties(paho.PacketTypes.PUBLISH)
case.UserProperty = [("case", "killed")]
number = 0
while not os.path.exists(f"{folder}/stop"):
    answered.clear()
    client.publish("killed", f"mqtt {number}", 1, properties=case)
    while not answered.wait(0.1) and not os.path.exists(f"{folder}/stop"):
        pass
    number += 1
client.loop_stop()
PY
fi
if "$PYTHON" -c 'import websockets.sync.client' 2>/dev/null; then
  "$PYTHON" - $HTTP $W <<'PY' & writers="$writers $!"
import json, os, sys, time
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect
at, folder = sys.argv[1:]
number, stopped = 0, lambda: os.path.exists(f"{folder}/stop")
while not stopped():
    try:
        with connect(f"ws://{at}/events", subprotocols=["millrace.v1"], proxy=None) as socket:
            while not stopped():
                frame = {"op": "publish", "ref": "1", "tags": {"case": "killed"}, "payload": f"websocket {number}"}
                socket.send(json.dumps(frame))
                if json.loads(socket.recv(60)).get("outcome") != "confirmed":
                    time.sleep(0.02)
                    continue
                with open(f"{folder}/confirmed", "a") as file:
                    file.write(f"websocket {number}\n")
                number += 1
    except (OSError, WebSocketException):
        time.sleep(0.02)
PY
fi
for round in $(seq $ROUNDS); do
  # It is killed while it works.
  before=$(wc -l <$W/confirmed)
  for i in $(seq 1200); do [ $(wc -l <$W/confirmed) -gt $((before + 5)) ] && break; sleep 0.05; done
  sleep 0.$(printf %03d $((RANDOM % 300)))
  { kill -9 $G; wait $G; } 2>/dev/null
  gateway
done
sleep 0.5; touch $W/stop; wait $writers
sort -u $W/confirmed >$W/wanted
missing() { comm -23 $W/wanted <(jq -r 'select(.payload != null) | .payload' "$1" 2>/dev/null | sort -u); }
complete() { [ -z "$(missing "$1")" ]; }
for i in $(seq 120); do complete $W/got && complete $W/stream && break; sleep 0.5; done
touch $W/streamed
complete $W/got || wrong "these were confirmed and did not arrive:" $(missing $W/got)
complete $W/stream || wrong "these were confirmed and are missing in a stream that came back:" $(missing $W/stream)
grep -q '"gap"' $W/stream && wrong "the stream has a gap: $(grep '"gap"' $W/stream | head -3)"
[ $(wc -l <$W/wanted) -gt $((ROUNDS * 5)) ] || wrong "only $(wc -l <$W/wanted) events in $ROUNDS rounds"
echo "right: $ROUNDS kills, $(wc -l <$W/wanted) confirmed events, $(grep -c ^mqtt $W/wanted) of them by MQTT and $(grep -c ^websocket $W/wanted) by WebSocket, none is missing at a receiver or in a stream that came back"
