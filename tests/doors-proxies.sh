#!/usr/bin/env bash
# Proxies as they are in front of a gateway's doors: nginx, haproxy and caddy pass on a published event, a stream of server-sent events
# while it is open, and a WebSocket; haproxy the NATS and the MQTT door, too, as it passes on any TCP. A program that is not installed is
# said and left out.
#
#   BIN=FOLDER_OF_BINARIES tests/doors-proxies.sh     # $PYTHON has websockets; $NGINX, $HAPROXY, $CADDY: other programs than those of $PATH
#
# Exit code 1 when something does not get through.
set -uo pipefail
BIN=${BIN:?folder of the binaries}
PYTHON=${PYTHON:-python3} NGINX=${NGINX:-nginx} HAPROXY=${HAPROXY:-haproxy} CADDY=${CADDY:-caddy}
for name in $(compgen -e | grep '^MILLRACE_' || true); do unset "$name"; done
out=$(mktemp -d)
export HOME=$out XDG_RUNTIME_DIR=$out
children=()
trap 'kill "${children[@]}" 2>/dev/null; wait 2>/dev/null; rm -rf "$out"' EXIT
until_is() { for _ in $(seq 600); do "$@" >/dev/null 2>&1 && return; sleep 0.1; done; echo "not within a minute: $*" >&2; return 1; }
"$BIN/millrace-router" --listen 127.0.0.1:0 --admin 127.0.0.1:0 --history-bytes 16MiB --ready-json >"$out/router.json" 2>"$out/router.log" &
children+=($!)
until_is test -s "$out/router.json" || exit 1
"$BIN/millrace-gateway" --router "$(jq -r .addr "$out/router.json")" --http 127.0.0.1:0 --nats 127.0.0.1:0 --mqtt 127.0.0.1:0 --admin off \
    --ready-json >"$out/gateway.json" 2>"$out/gateway.log" &
children+=($!)
until_is test -s "$out/gateway.json" || exit 1
http=$(jq -r .http "$out/gateway.json") nats=$(jq -r .nats "$out/gateway.json") mqtt=$(jq -r .mqtt "$out/gateway.json")
until_is curl -sfo /dev/null "http://$http/readyz" || exit 1
# Ports of now; who else takes one in between fails this script with the proxy's own words.
read -r a b c d e < <("$PYTHON" -c 'import socket
sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(5)]
print(*(socket.getsockname()[1] for socket in sockets))')
wrong=0
verdict() { if (($2 == 0)); then echo "right    $1"; else wrong=1; echo "WRONG    $1"; fi; }
through() { # NAME PORT
    until_is curl -sfo /dev/null "http://127.0.0.1:$2/readyz" || { tail -5 "$out/$1.log"; verdict "$1" 1; return; }
    curl -sN "http://127.0.0.1:$2/events?select=proxy=$1" >"$out/$1.stream" &
    local stream=$!
    children+=("$stream")
    until_is grep -q subscribed "$out/$1.stream" &&
        curl -sf -d "by $1" "http://127.0.0.1:$2/events?tag=proxy=$1" | grep -q '"outcome":"confirmed"' &&
        until_is grep -q "by $1" "$out/$1.stream" && kill -0 "$stream"
    verdict "$1: an event, and a stream that shows it while it is open" $?
    "$PYTHON" - "$2" "$1" <<'PY'
import json, sys
from websockets.sync.client import connect
port, name = sys.argv[1:]
with connect(f"ws://127.0.0.1:{port}/events", subprotocols=["millrace.v1"], proxy=None, open_timeout=60) as socket:
    socket.send(json.dumps({"op": "subscribe", "sub": "1", "select": [f"socket={name}"]}))
    assert json.loads(socket.recv(60))["op"] == "subscribed"
    socket.send(json.dumps({"op": "publish", "ref": "1", "tags": {"socket": name}, "payload": "both ways"}))
    said = set()
    while said != {"event", "published"}:
        said |= {json.loads(line)["op"] for line in socket.recv(60).splitlines()}
PY
    verdict "$1: a WebSocket, both ways" $?
}
if command -v "$NGINX" >/dev/null; then
    mkdir -p "$out/nginx"
    cat >"$out/nginx.conf" <<CONF
daemon off; pid $out/nginx/pid; error_log $out/nginx.log; user root;
events {}
http {
    access_log off;
    client_body_temp_path $out/nginx/a; proxy_temp_path $out/nginx/b; fastcgi_temp_path $out/nginx/c; uwsgi_temp_path $out/nginx/d; scgi_temp_path $out/nginx/e;
    map \$http_upgrade \$connection_upgrade { default upgrade; '' ''; }
    server {
        listen 127.0.0.1:$a;
        location / {
            proxy_pass http://$http;
            proxy_http_version 1.1;
            proxy_set_header Upgrade \$http_upgrade;
            proxy_set_header Connection \$connection_upgrade;
            proxy_read_timeout 60s;
        }
    }
}
CONF
    "$NGINX" -c "$out/nginx.conf" >>"$out/nginx.log" 2>&1 &
    children+=($!)
    through nginx "$a"
else
    echo "left out nginx: not installed"
fi
if command -v "$HAPROXY" >/dev/null; then
    cat >"$out/haproxy.cfg" <<CONF
defaults
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    timeout tunnel 1h
listen web
    mode http
    bind 127.0.0.1:$b
    server gateway $http
listen nats
    mode tcp
    bind 127.0.0.1:$c
    server gateway $nats
listen mqtt
    mode tcp
    bind 127.0.0.1:$d
    server gateway $mqtt
CONF
    "$HAPROXY" -f "$out/haproxy.cfg" >"$out/haproxy.log" 2>&1 &
    children+=($!)
    through haproxy "$b"
    exec 3<>"/dev/tcp/127.0.0.1/$c" && printf 'CONNECT {}\r\nPING\r\n' >&3 && head -n 2 <&3 | grep -q PONG
    verdict "haproxy: NATS" $?
    exec 4<>"/dev/tcp/127.0.0.1/$d" && printf '\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01p' >&4 && [[ $(head -c 4 <&4 | od -An -tx1) == " 20 02 00 00" ]]
    verdict "haproxy: MQTT" $?
else
    echo "left out haproxy: not installed"
fi
if command -v "$CADDY" >/dev/null; then
    printf '{\n admin off\n auto_https off\n}\nhttp://127.0.0.1:%s {\n reverse_proxy %s\n}\n' "$e" "$http" >"$out/Caddyfile"
    "$CADDY" run --config "$out/Caddyfile" --adapter caddyfile >"$out/caddy.log" 2>&1 &
    children+=($!)
    through caddy "$e"
else
    echo "left out caddy: not installed"
fi
exit $wrong
