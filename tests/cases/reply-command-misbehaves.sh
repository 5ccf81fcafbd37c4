#!/bin/bash
# `reply --exec CMD` whose command fails, hangs, is killed or writes for ever: every request ends, the
# responder goes on and can be interrupted, and no process is left. In a group another member replies: also when a member is killed
# (kill -9) or stopped with requests at work. The requests of several askers each get their own answers, one, n or all.
# Exit 0: right. 1: wrong. 77: cannot be tried here. Needs $BIN (folder of millrace, millrace-router), bash, jq, pgrep.
BIN=${BIN:?folder of the binaries}
W=$(mktemp -d); export HOME=$W/home XDG_RUNTIME_DIR=$W/run; mkdir -p $HOME $XDG_RUNTIME_DIR
for v in ROUTER CA CERT KEY SEEDS LISTEN ADMIN CONFIG ADVERTISE; do unset MILLRACE_$v; done
PIDS=; trap 'exec 2>/dev/null; for p in $PIDS; do pkill -9 -P $p; kill -9 $p 2>/dev/null; done; wait 2>/dev/null; rm -rf $W' EXIT
wrong() { echo "WRONG: $*"; tail -5 $W/*.told 2>/dev/null; exit 1; }
command -v pgrep >/dev/null || exit 77
router() { # name arguments... ; sets RA
  local n=$1; shift
  "$BIN/millrace-router" --ready-json --admin 127.0.0.1:0 --listen 127.0.0.1:0 "$@" >$W/$n.ready 2>$W/$n.err & PIDS="$PIDS $!"
  for i in $(seq 200); do [ -s $W/$n.ready ] && break; sleep 0.1; done; RA=$(jq -r .addr $W/$n.ready); }
router a; A=$RA; router b --seed $A; B=$RA
reply() { # name router arguments... ; sets P
  local n=$1 r=$2; shift 2
  "$BIN/millrace" --router $r reply "$@" >/dev/null 2>$W/$n.told & P=$!; PIDS="$PIDS $P"; disown $P
  for i in $(seq 200); do grep -q 'subscribed in the whole cluster' $W/$n.told && return; kill -0 $P 2>/dev/null || break; sleep 0.1; done; wrong "$n does not reply"; }
ask() { timeout 60 "$BIN/millrace" --json --router $A request "$@" 2>>$W/ask.told </dev/null | jq -c 'select(.type == "end")'; }
field() { jq -r ".$1"; }
ends() { # seconds pid
  for i in $(seq $(($1 * 10))); do kill -0 $2 2>/dev/null || return 0; sleep 0.1; done; return 1; }

# What a command does that goes wrong: the payload says.
cat >$W/do.sh <<'X'
case $(cat) in
  fail) exit 3;;
  die) kill -9 $$;;
  hang) sleep 4321;;
  flood) yes;;
  *) echo fine;;
esac
X
reply one $B s=one --jobs 2 --timeout 2s --exec "sh $W/do.sh"; ONE=$P
[ "$(ask s=one ok | field end)" = complete ] || wrong "no reply at all"
for how in fail die hang flood hang hang; do
  [ "$(ask s=one $how --timeout 800ms | field end)" = deadline ] || wrong "a request whose command does $how has another end"
done
[ "$(ask s=one ok --timeout 20s | field end)" = complete ] || wrong "it does not reply behind commands that hang"
[ "$(ask s=one ok --replies all | field receivers)" = 1 ] || wrong "not one receiver"
grep -q 'exit status: 3' $W/one.told || wrong "what a failed command ended with is not said"
grep -q 'wrote more than a payload' $W/one.told || wrong "a command that writes for ever is not named"
ps -o rss= -p $ONE | awk '{ exit $1 > 200000 }' || wrong "it keeps what a command writes for ever"
for i in $(seq 50); do pgrep -f '^sleep 4321' >/dev/null || break; sleep 0.1; done
pgrep -f '^sleep 4321' >/dev/null && wrong "what a killed command had started goes on"
# An interrupt while all places are taken: it waits for what it has begun, a second one kills that.
reply two $A s=two --jobs 1 --exec 'sleep 4323'; TWO=$P
ask s=two x --timeout 60s >/dev/null & PIDS="$PIDS $!"
for i in $(seq 100); do pgrep -f '^sleep 4323' >/dev/null && break; sleep 0.1; done
kill -INT $TWO; sleep 0.5; kill -0 $TWO 2>/dev/null || wrong "an interrupt does not wait for the command"
kill -INT $TWO; ends 10 $TWO || wrong "a second interrupt does not end it"
pgrep -f '^sleep 4323' >/dev/null && wrong "the command of an interrupted responder goes on"
kill -INT $ONE; ends 10 $ONE || wrong "an interrupt does not end an idle responder"

# Several: one, n, all, more than there are.
reply r1 $A s=many --exec 'echo 1'; R1=$P; reply r2 $B s=many --exec 'echo 2'; reply r3 $B s=many --name till --exec 'echo 3'
for wanted in 1 2 all 9; do
  got=$(ask s=many x --replies $wanted --timeout 20s)
  case $wanted in 1|2) n=$wanted;; *) n=3;; esac
  [ "$(echo "$got" | jq -c '[.end, .replies]')" = "[\"complete\",$n]" ] || wrong "--replies $wanted: $got"
done
[ "$(ask --to till x --replies all | jq -c '[.end, .replies, .recipients.till]')" = '["complete",1,"delivered"]' ] || wrong "--to"
[ "$(ask --to nobody x | field end)" = no_receiver ] || wrong "--to nobody"
kill -9 $R1
got=$(ask s=many x --replies all --timeout 20s); n=$(echo "$got" | jq .replies)
[ $n -ge 2 ] || wrong "behind a kill: $got"

# In a group: a member whose command fails, one that is killed at work, one that is stopped.
reply g1 $A s=group --group g --exec 'exit 1'; G1=$P; reply g2 $B s=group --group g --level 2 --exec 'echo two'
for i in 1 2 3; do [ "$(ask s=group x --timeout 20s | field end)" = complete ] || wrong "what a member's command fails no other one does"; done
kill -9 $G1
reply h1 $A s=kill --group h --exec "touch $W/at-work; sleep 4324"; H1=$P; reply h2 $B s=kill --group h --level 2 --exec 'echo two'
ask s=kill x --timeout 30s >$W/killed & K=$!; PIDS="$PIDS $K"
for i in $(seq 100); do [ -e $W/at-work ] && break; sleep 0.1; done
[ -e $W/at-work ] || wrong "level 1 does not have the request"
kill -9 $H1; for p in $(pgrep -f "^sleep 4324"); do kill -9 $p; done
wait $K; [ "$(jq -c '[.end, .replies]' $W/killed)" = '["complete",1]' ] || wrong "a killed member's request: $(cat $W/killed)"
reply i1 $A s=stop --group i --exec 'echo one'; I1=$P; reply i2 $B s=stop --group i --level 2 --exec 'echo two'
kill -STOP $I1
got=$(ask s=stop x --timeout 30s); kill -CONT $I1
[ "$(echo "$got" | field end)" = complete ] || wrong "a stopped member's request: $got"
echo "right: every request has its reply or its end, whatever commands and responders do"
