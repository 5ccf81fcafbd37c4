#!/bin/bash
# A pool of `sub --group G --exec CMD`: each job is done although a worker is killed with kill -9 in the middle, and a command that
# fails gives its job to another worker. Alone, a command that fails is counted, and the exit code says so.
# Exit 0: right. 1: wrong. 77: cannot be tried here. Needs $BIN (folder of millrace, millrace-router), bash, jq.
BIN=${BIN:?folder of the binaries}
W=$(mktemp -d); export HOME=$W/home XDG_RUNTIME_DIR=$W/run; mkdir -p $HOME $XDG_RUNTIME_DIR $W/done
for v in ROUTER CA CERT KEY SEEDS LISTEN ADMIN CONFIG ADVERTISE; do unset MILLRACE_$v; done
PIDS=; trap 'for p in $PIDS; do kill -9 $p 2>/dev/null; done; wait 2>/dev/null; rm -rf $W' EXIT
wrong() { echo "WRONG: $*"; exit 1; }
"$BIN/millrace-router" --ready-json --listen 127.0.0.1:0 --admin 127.0.0.1:0 >$W/ready 2>$W/err & PIDS="$PIDS $!"
for i in $(seq 100); do [ -s $W/ready ] && break; sleep 0.1; done
export MILLRACE_ROUTER=$(jq -r .addr $W/ready) W
effective() { for i in $(seq 200); do grep -q '"stage":"cluster"' $1 2>/dev/null && return; sleep 0.05; done; wrong "$1 is not effective: $(cat $1)"; }
worker() { # name command
  "$BIN/millrace" --json sub --group pool --exec "$2" job >/dev/null 2>$W/$1.told & WP=$!; PIDS="$PIDS $WP"; effective $W/$1.told; }
jobs_of() { for n in $(seq $2 $3); do "$BIN/millrace" pub -q --confirm routed -t job=$1$n "$1$n" || wrong "pub of $1$n"; done; }
all_done() { for i in $(seq 400); do [ $(ls $W/done | grep -c "^$1") = $2 ] && return; sleep 0.1; done; wrong "$(ls $W/done | grep -c "^$1") of $2 jobs $1 are done"; }

worker one 'read -r job; touch "$W/begun-$job"; sleep 0.2; touch "$W/done/$job"'; ONE=$WP
worker two 'touch "$W/done/$MILLRACE_TAG_JOB"'
jobs_of a 1 20
for i in $(seq 100); do ls $W/begun-* >/dev/null 2>&1 && break; sleep 0.05; done
kill -9 $ONE
all_done a 20

# One that always fails, beside one that does not.
worker three 'exit 1'
jobs_of b 1 20
all_done b 20

"$BIN/millrace" --json sub --exec 'test "$MILLRACE_TAG_ALONE" = good' -n 2 alone >/dev/null 2>$W/alone.told & ALONE=$!; PIDS="$PIDS $ALONE"
effective $W/alone.told
"$BIN/millrace" pub -q -t alone=good x; "$BIN/millrace" pub -q -t alone=bad x
wait $ALONE; [ $? = 1 ] || wrong "a failed command alone: exit code $?"
grep -q '"done":1,"failed":1' $W/alone.told || wrong "$(cat $W/alone.told)"
echo "right: 40 jobs were done, with a worker killed and another that fails"
