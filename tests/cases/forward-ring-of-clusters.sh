#!/bin/bash
# Three clusters in a ring, each forwards `*` to both others: a receiver gets each event once, whichever cluster it was published
# in and on however many ways it came; nothing goes round; and `ctl forwards` names the second way with both paths.
# Exit 0: right. 1: wrong. 77: cannot be tried here. Needs $BIN (folder of millrace, millrace-router), bash, jq, curl, python3.
BIN=${BIN:?folder of the binaries}
W=$(mktemp -d); export HOME=$W/home XDG_RUNTIME_DIR=$W/run; mkdir -p $HOME $XDG_RUNTIME_DIR
for v in ROUTER CA CERT KEY SEEDS LISTEN ADMIN CONFIG ADVERTISE CLUSTER; do unset MILLRACE_$v; done
PIDS=; trap 'exec 2>/dev/null; for p in $PIDS; do pkill -9 -P $p; kill -9 $p 2>/dev/null; done; wait 2>/dev/null; rm -rf $W' EXIT
wrong() { echo "WRONG: $*"; exit 1; }
ports() { python3 -c 'import socket,sys
held = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(int(sys.argv[1]))]
for one in held: one.bind(("127.0.0.1", 0))
print(*(one.getsockname()[1] for one in held))' $1; }
read PA PB PC <<<"$(ports 3)" || exit 77
declare -A PORT=([a]=$PA [b]=$PB [c]=$PC) ADM
config() { # cluster others...
  local own=$1; shift
  echo "cluster = \"000000000000000$own\""
  for far in "$@"; do printf '[[forward]]\nname = "to-%s"\nto = "127.0.0.1:%s"\nselect = ["*"]\n' $far ${PORT[$far]}; done
  printf '[[accept]]\nidentity = "*"\n'
}
start() { # cluster; its settings stand in $W/$1.toml
  "$BIN/millrace-router" --config $W/$1.toml --ready-json --listen 127.0.0.1:${PORT[$1]} --admin 127.0.0.1:0 --cores 2 >$W/$1.ready 2>$W/$1.err &
  PIDS="$PIDS $!"
  for i in $(seq 100); do [ -s $W/$1.ready ] && break; sleep 0.1; done
  ADM[$1]=$(jq -r .admin $W/$1.ready)
}
forwards() { curl -s http://${ADM[$1]}/forwards; }
up() { for i in $(seq 150); do [ "$(forwards $1 | jq '[.links[] | select(.state == "up")] | length')" = $2 ] && return; sleep 0.1; done; wrong "cluster $1: $(forwards $1), $(tail -3 $W/$1.err)"; }
dropped() { for m in a b c; do curl -s http://${ADM[$m]}/metrics | grep "^millrace_forward_events_dropped.*reason=\"$1\"" | awk '{ sum += $2 } END { print sum + 0 }'; done | paste -sd+ | bc; }

for m in a b c; do config $m $(echo a b c | tr -d $m) >$W/$m.toml; done
for m in a b c; do start $m; done
for m in a b c; do up $m 2; done

N=500
for m in a b c; do
  timeout 60 "$BIN/millrace" --json sub --router 127.0.0.1:${PORT[$m]} -n $((3 * N)) '*' >$W/$m.got 2>$W/$m.told & PIDS="$PIDS $!"; eval SUB_$m=$!
done
for m in a b c; do
  for i in $(seq 100); do [ "$(curl -s http://${ADM[$m]}/routes | jq '.routes | length')" = 1 ] && break; sleep 0.1; done
done
for m in a b c; do
  seq -f "$m-%.0f" $N | "$BIN/millrace" --router 127.0.0.1:${PORT[$m]} pub --lines -t from=$m -q || wrong "pub in $m"
done
for m in a b c; do
  eval wait \$SUB_$m || wrong "the receiver in $m: $(wc -l <$W/$m.got) events, $(tail -1 $W/$m.told)"
  for from in a b c; do
    jq -r 'select(.type == "event") | .payload' $W/$m.got | grep "^$from-" | sort -t- -k2n | cmp -s - <(seq -f "$from-%.0f" $N) || wrong "in $m, from $from: not each event once"
  done
done
for m in a b c; do
  for i in $(seq 100); do
    warned=$("$BIN/millrace" ctl --admin http://${ADM[$m]} forwards)
    ways=$(grep -c '^warning: events of cluster .* come on 2 paths: .* > ' <<<"$warned")
    [ "$ways" = 2 ] && break
    sleep 0.1
  done
  [ "$ways" = 2 ] || wrong "cluster $m does not warn of second ways: $warned"
done
before=$(dropped cluster_path)
sleep 1
[ "$(dropped cluster_path)" = "$before" ] || wrong "something goes round: $before, then $(dropped cluster_path)"
echo "right: $((9 * N)) deliveries, once each"
