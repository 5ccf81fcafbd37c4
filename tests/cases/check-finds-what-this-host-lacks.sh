#!/bin/bash
# --check finds folders that cannot be made (exit code 2), and warns of CPUs that are not there (exit code 0).
# Exit 0: right. 1: wrong. Needs $BIN (folder of millrace-router, millrace-agent), bash.
BIN=${BIN:?folder of the binaries}
W=$(mktemp -d); export HOME=$W/home XDG_RUNTIME_DIR=$W/run; mkdir -p "$HOME" "$XDG_RUNTIME_DIR"
for v in ROUTER CA CERT KEY SEEDS LISTEN ADMIN CONFIG ADVERTISE; do unset MILLRACE_$v; done
trap 'rm -rf "$W"' EXIT
wrong() { echo "WRONG: $*"; exit 1; }
said() { said=$("$@" --check 2>&1); code=$?; }
for folder in /proc/none/history /dev/null/history; do
  said "$BIN/millrace-router" --history-bytes 1MiB --history-dir $folder
  [ $code = 2 ] && [[ $said == *history.dir* ]] || wrong "the router takes $folder: $said"
  printf 'spool.folder = "%s"\nunix.listen = "off"\nhttp.listen = "off"\nadmin.listen = "off"\n' "$folder" >"$W/agent.toml"
  said "$BIN/millrace-agent" --config "$W/agent.toml"
  [ $code = 2 ] && [[ $said == *spool.folder* ]] || wrong "the agent takes $folder: $said"
done
printf 'spool.folder = "%s"\nunix.listen = "/proc/none/agent.sock"\n' "$W/spool" >"$W/agent.toml"
said "$BIN/millrace-agent" --config "$W/agent.toml"
[ $code = 2 ] && [[ $said == *unix.listen* ]] || wrong "the agent takes a socket that cannot be made: $said"
said "$BIN/millrace-router" --listen 127.0.0.1:0 --pin 1023
[ $code = 0 ] && [[ $said == *"may not use CPU 1023"* ]] || wrong "nothing is said of a CPU that is not there: $said"
[ -z "$(ls -A "$W" | grep -v -e agent.toml -e home -e run)" ] || wrong "the check leaves something behind"
echo "right: all was found"
