#!/bin/bash
# A link to another cluster: sends what somebody wants there and nothing else; names a selector of which the far side lets nothing
# in; packs what crosses; keeps events while the far cluster is down, and brings them once; a reload adds and removes it; `--check` refuses one
# that leads home, and two clusters of one id refuse each other by name.
# Exit 0: right. 1: wrong. 77: cannot be tried here. Needs $BIN (folder of millrace, millrace-router), bash, jq, curl, python3.
BIN=${BIN:?folder of the binaries}
W=$(mktemp -d); export HOME=$W/home XDG_RUNTIME_DIR=$W/run; mkdir -p $HOME $XDG_RUNTIME_DIR
for v in ROUTER CA CERT KEY SEEDS LISTEN ADMIN CONFIG ADVERTISE CLUSTER; do unset MILLRACE_$v; done
PIDS=; trap 'exec 2>/dev/null; for p in $PIDS; do pkill -9 -P $p; kill -9 $p 2>/dev/null; done; wait 2>/dev/null; rm -rf $W' EXIT
wrong() { echo "WRONG: $*"; exit 1; }
read PA PB <<<"$(python3 -c 'import socket
held = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2)]
for one in held: one.bind(("127.0.0.1", 0))
print(*(one.getsockname()[1] for one in held))')" || exit 77
start() { # name port ; sets RP and ADM
  rm -f $W/$1.ready
  "$BIN/millrace-router" --config $W/$1.toml --ready-json --listen 127.0.0.1:$2 --admin 127.0.0.1:0 >$W/$1.ready 2>>$W/$1.err & RP=$!; PIDS="$PIDS $RP"
  for i in $(seq 100); do [ -s $W/$1.ready ] && break; sleep 0.1; done; ADM=$(jq -r .admin $W/$1.ready); }
link() { "$BIN/millrace" ctl --admin http://$AA forwards --json 2>/dev/null | jq -c ".. | objects | select(has(\"links\")) | .links[0] $1" | head -1; }
until_link() { for i in $(seq 150); do [ "$(link "$1")" = "$2" ] && return; sleep 0.1; done; wrong "link $1 is $(link "$1"), not $2: $(link ''), $(tail -2 $W/a.err)"; }
publish() { seq -f "$1-%.0f" $3 | "$BIN/millrace" --router 127.0.0.1:$PA pub --lines -t "$2" -q || wrong "pub $1"; }

printf 'cluster = "00000000000000aa"\n' >$W/a.toml
printf 'cluster = "00000000000000bb"\n[[accept]]\nidentity = "*"\ncluster = "00000000000000aa"\nselect = ["kind in (x,y)"]\n' >$W/b.toml
start a $PA; A=$RP AA=$ADM
start b $PB; B=$RP
[ "$(link '')" = null ] || [ -z "$(link '')" ] || wrong "a link that nobody asked for"

# A reload adds it.
printf '[[forward]]\nname = "south"\nto = "127.0.0.1:%s"\nselect = ["kind=x", "kind=z"]\nspool_bytes = "1MiB"\ncompression = "zstd"\n' $PB >>$W/a.toml
"$BIN/millrace" ctl --admin http://$AA reload >/dev/null || wrong "reload"
until_link .state '"up"'
until_link .refused_selectors '["kind=z"]'
grep -q 'kind=z' $W/a.err || wrong "the refused selector is not in the log"
until_link .demand '[]'
publish unwanted kind=x 50
until_link .sent 0

# Somebody wants it.
timeout 60 "$BIN/millrace" --json sub --router 127.0.0.1:$PB 'kind' >$W/got 2>$W/told & PIDS="$PIDS $!"
until_link .demand '["kind"]'
publish first kind=x 100; publish not kind=y 10
until_link .sent 100
for i in $(seq 100); do [ "$(grep -c '"first-' $W/got)" = 100 ] && break; sleep 0.1; done
[ "$(jq -r 'select(.type == "event") | .payload' $W/got | sort -u | wc -l)" = 100 ] || wrong "$(wc -l <$W/got) came, not 100"

# Down: it spools, and brings each event once.
kill -9 $B; wait $B 2>/dev/null
publish later kind=x 100
until_link '.spooled_bytes > 0' true
seq -f "later-%.0f" 101 200 | "$BIN/millrace" --router 127.0.0.1:$PA pub --lines -t kind=x -q || wrong "pub while it is down"
start b $PB
for i in $(seq 200); do [ "$(grep -c '"later-' $W/got)" -ge 200 ] && break; sleep 0.1; done
sleep 1
jq -r 'select(.type == "event") | .payload' $W/got | grep '^later-' | sort -t- -k2n | cmp -s - <(seq -f 'later-%.0f' 200) || wrong "$(grep -c '"later-' $W/got) came of 200 that were spooled"

[ "$(link '| .stream_bytes < .frame_bytes')" = true ] || wrong "what crosses is not packed: $(link '')"

# A reload removes it.
printf 'cluster = "00000000000000aa"\n' >$W/a.toml
"$BIN/millrace" ctl --admin http://$AA reload >/dev/null || wrong "second reload"
for i in $(seq 50); do [ -z "$(link '.name // empty')" ] && break; sleep 0.1; done
[ -z "$(link '.name // empty')" ] || wrong "the link is still there"

# One that leads home, and one to a cluster of the same id.
printf 'cluster = "00000000000000aa"\n[[forward]]\nname = "home"\nto = "127.0.0.1:%s"\nselect = ["*"]\n' $PA >$W/home.toml
"$BIN/millrace-router" --config $W/home.toml --listen 127.0.0.1:$PA --check >/dev/null 2>$W/home.err && wrong "--check takes a link that leads home"
grep -q '"home"' $W/home.err || wrong "--check does not name the link: $(cat $W/home.err)"
printf 'cluster = "00000000000000bb"\n[[forward]]\nname = "twin"\nto = "127.0.0.1:%s"\nselect = ["*"]\n' $PB >$W/c.toml
start c 0; AA=$ADM
until_link .state '"refused"'
link .trouble | grep -q 00000000000000bb || wrong "the id is not named: $(link .trouble)"
echo "right"
