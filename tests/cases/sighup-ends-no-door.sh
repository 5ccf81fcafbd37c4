#!/bin/bash
# SIGHUP, sent by log rotation and reload habits, to a gateway and to an agent: they go on, say in their logs what they have read anew,
# refuse what is wrong as a whole, and end in order at SIGTERM. systemd counts an end by SIGHUP as a clean one and would not start them again.
# Exit 0: right. 1: wrong. 77: cannot be tried here. Needs $BIN (folder of millrace-gateway, millrace-agent), bash, jq, curl.
BIN=${BIN:?folder of the binaries}
W=$(mktemp -d); export HOME=$W/home XDG_RUNTIME_DIR=$W/run; mkdir -p $HOME $XDG_RUNTIME_DIR
for v in $(compgen -e | grep '^MILLRACE_'); do unset $v; done
P=; trap '[ "$P" ] && kill -9 $P 2>/dev/null; wait 2>/dev/null; rm -rf $W' EXIT
wrong() { echo "WRONG: $*"; tail -3 $W/log; exit 1; }
asked() { # WHAT THE LOG SAYS THEN
  kill -HUP $P
  for i in $(seq 600); do grep -q "$1" $W/log && break; kill -0 $P 2>/dev/null || break; sleep 0.1; done
  kill -0 $P 2>/dev/null || wrong "$name is gone after SIGHUP"
  grep -q "$1" $W/log || wrong "$name does not say: $1"
}
try() { # PROGRAM ARGUMENTS...
  name=$1; shift
  echo 'log.filter = "info"' >$W/$name.toml
  "$BIN/$name" --config $W/$name.toml --router 127.0.0.1:9 --http 127.0.0.1:0 --admin off --ready-json "$@" >$W/$name 2>$W/log & P=$!
  for i in $(seq 600); do [ -s $W/$name ] && break; sleep 0.1; done
  local http; http=$(jq -r .http $W/$name) || wrong "$name does not start"
  asked 'reloaded; nothing has changed'
  printf 'log.filter = "debug"\nadmin.listen = 1\n' >$W/$name.toml
  asked 'the reload is refused, and nothing was changed'
  echo 'log.filter = "info,millrace_gateway=debug"' >$W/$name.toml
  asked 'reload: log.filter: "info" becomes'
  echo 'log.filter = "info,millrace_gateway=debug"
routers.zone = "elsewhere"' >$W/$name.toml
  asked 'it needs a restart: routers.zone'
  curl -s -m 60 -o $W/answer "http://$http/" || wrong "$name does not answer after SIGHUP"
  kill -TERM $P; wait $P || wrong "$name ended with code $? at SIGTERM"
  P=
}
try millrace-gateway
try millrace-agent --spool $W/spool --spool-free 0 --socket $W/agent.sock --syslog-udp off --syslog-tcp off --fqdn web-1
echo "right: a gateway and an agent read their settings anew at SIGHUP"
