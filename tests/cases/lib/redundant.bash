# What the cases of --redundant share: routers, and what is waited for. Sourced; needs $BIN (folder of millrace, millrace-router),
# bash, jq, curl.
BIN=${BIN:?folder of the binaries}
W=$(mktemp -d); export HOME=$W/home XDG_RUNTIME_DIR=$W/run; mkdir -p $HOME $XDG_RUNTIME_DIR
for v in ROUTER CA CERT KEY SEEDS LISTEN ADMIN CONFIG ADVERTISE; do unset MILLRACE_$v; done
PIDS=; trap 'for p in $PIDS; do kill -9 $p 2>/dev/null; done; wait 2>/dev/null; rm -rf $W' EXIT
wrong() { echo "WRONG: $*"; tail -5 $W/*.told 2>/dev/null; exit 1; }
N=0
router() { # arguments... ; sets RP (pid) RA (address) ADM (admin)
  N=$((N+1)); "$BIN/millrace-router" --ready-json --listen 127.0.0.1:0 --admin 127.0.0.1:0 --cores 2 "$@" >$W/ready$N 2>$W/err$N & RP=$!; PIDS="$PIDS $RP"
  for i in $(seq 300); do [ -s $W/ready$N ] && break; sleep 0.1; done
  RA=$(jq -r .addr $W/ready$N); ADM=$(jq -r .admin $W/ready$N); }
linked() { # admin peers
  for i in $(seq 300); do [ "$(curl -s http://$1/status | jq '[.mesh.peers[]? // .peers[]? | select(.state == "linked")] | length' 2>/dev/null)" = $2 ] && return; sleep 0.1; done; wrong "the routers do not link"; }
await() { # seconds what... : until the command succeeds
  local n=$1; shift; for i in $(seq $((n * 10))); do "$@" && return; sleep 0.1; done; return 1; }
came() { [ "$(grep -c '"type":"event"' $1)" -ge $2 ]; }
once() { # file events : each once, in order, and nothing else
  ! grep '"type":"gap"' $1 || wrong "a gap is shown"
  seq $2 | cmp -s - <(jq -r 'select(.type == "event") | .payload' $1) || wrong "not each event once, in order"; }
publish() { # what-the-file-has last : numbers in steps of 200, ten times a second
  for n in $(seq 1 200 $2); do seq $n $((n + 199)); sleep 0.1; done >$1; }
