#!/bin/bash
# Tags that rules add at the owner: receivers of every router select by them, those of the past and of groups, too;
# a reload counts at once, a bad rule changes nothing, and `rules test` says beforehand what comes out.
# Exit 0: right. 1: wrong. 77: cannot be tried here. Needs $BIN (folder of millrace, millrace-router), bash, jq, curl.
BIN=${BIN:?folder of the binaries}
W=$(mktemp -d); export HOME=$W/home XDG_RUNTIME_DIR=$W/run; mkdir -p $HOME $XDG_RUNTIME_DIR
for v in ROUTER CA CERT KEY SEEDS LISTEN ADMIN CONFIG ADVERTISE; do unset MILLRACE_$v; done
PIDS=; trap 'for p in $PIDS; do kill -9 $p 2>/dev/null; done; wait 2>/dev/null; rm -rf $W' EXIT
N=0
router() { # arguments... ; sets RP (pid) RA (address) ADM (admin) ERR (its standard error)
  N=$((N+1)); ERR=$W/err$N; "$BIN/millrace-router" --ready-json --admin 127.0.0.1:0 --listen 127.0.0.1:0 "$@" >$W/ready$N 2>$ERR & RP=$!; PIDS="$PIDS $RP"
  for i in $(seq 100); do [ -s $W/ready$N ] && break; kill -0 $RP 2>/dev/null || break; sleep 0.1; done
  RA=$(jq -r .addr $W/ready$N 2>/dev/null); ADM=http://$(jq -r .admin $W/ready$N 2>/dev/null); }
wrong() { echo "WRONG: $*"; exit 1; }
right() { echo "right: $*"; exit 0; }
waits() { # seconds, command... ; until it succeeds
  local s=$1; shift; for i in $(seq $((s * 10))); do "$@" >/dev/null 2>&1 && return 0; sleep 0.1; done; return 1; }
m() { "$BIN/millrace" "$@"; }

cat >$W/good.toml <<'T'
[history]
bytes = "1MiB"
[[rule]]
name = "team"
when = "service in (shop,pay)"
set = { team = "red", service = "stolen" }
[[rule]]
name = "disk"
when = "payload ~ /disk (?<disk>[a-z0-9]+) failed/"
set = { kind = "disk", disk = "${disk}" }
T
cp $W/good.toml $W/r.toml

# What comes out is said beforehand.
out=$(printf 'service=shop,host=a\tdisk sda1 failed\nhost=b\tall is well\n' | m --json rules test $W/r.toml) || wrong "rules test failed"
[ "$(jq -c .effective <<<"$out" | head -1)" = '{"disk":"sda1","host":"a","kind":"disk","service":"shop","team":"red"}' ] || wrong "rules test: $out"
[ "$(jq -c '.rules, .conflicts' <<<"$out" | head -2 | tr -d '\n')" = '["team","disk"]["team"]' ] || wrong "rules test: $out"
[ "$(jq -c .effective <<<"$out" | tail -1)" = '{"host":"b"}' ] || wrong "rules test: $out"

# Bad rules are named with file, line, rule and cure.
sed 's/\${disk}/${dsik}/' $W/good.toml >$W/bad.toml
said=$("$BIN/millrace-router" --config $W/bad.toml --check 2>&1) && wrong "--check takes a capture that nobody makes"
for word in bad.toml 'line 10' '"disk"' '${dsik}' 'name a group'; do grep -qF -- "$word" <<<"$said" || wrong "--check does not say $word: $said"; done
m rules test $W/bad.toml </dev/null 2>/dev/null; [ $? = 2 ] || wrong "rules test takes a bad rule"

# Two routers with the rules; a receiver at the one, a publisher at the other.
router --config $W/r.toml; A=$RA ADMA=$ADM PA=$RP
router --config $W/r.toml --seed $A; B=$RA ADMB=$ADM PB=$RP
m --router $B --json sub -q 'disk=sda1' >$W/sub1 2>/dev/null & PIDS="$PIDS $!"
m --router $A --json sub -q 'team=red,service=shop' >$W/sub2 2>/dev/null & PIDS="$PIDS $!"
m --router $B --json sub -q --group g 'kind=disk' >$W/sub3 2>/dev/null & PIDS="$PIDS $!"
sees() { m ctl --admin $ADMA why service=shop,disk=sda1,kind=disk,team=red --json | jq -e '(.receivers_count >= 1) and ([.peers[] | select(.wants)] | length == 1)'; }
waits 20 sees || wrong "subscriptions are not known at the other router"
m --router $A pub -t service=shop,host=a --confirm routed 'disk sda1 failed' 2>/dev/null || wrong "the event is not confirmed"
for f in 1 2 3; do waits 10 test -s $W/sub$f || wrong "receiver $f gets nothing"; done
for f in 1 2 3; do
  [ "$(head -1 $W/sub$f | jq -c .tags)" = '{"disk":"sda1","host":"a","kind":"disk","service":"shop","team":"red"}' ] || wrong "receiver $f: $(head -1 $W/sub$f)"
done
m --router $B --json sub -q --since 1m -n 1 'disk' >$W/past 2>/dev/null & P=$!; PIDS="$PIDS $P"
waits 10 test -s $W/past || wrong "history does not know added tags"
rules=$(m ctl --admin $ADMA rules --json)
[ "$(jq -c '[.rules[] | [.name, .hits, .conflicts]]' <<<"$rules")" = '[["team",1,1],["disk",1,0]]' ] || wrong "ctl rules: $rules"
curl -s $ADMA/metrics | grep -q '^millrace_rule_hits_total{rule="disk"} 1' || wrong "no metric of the rule"

# A bad rule in a reload changes nothing; a good one counts at once. The other router, which does not know it, says so.
cp $W/bad.toml $W/r.toml
m ctl --admin $ADMA reload >$W/out 2>&1 && wrong "a reload takes a bad rule"
grep -q 'dsik' $W/out || wrong "the reload does not say why: $(cat $W/out)"
sed 's/"red"/"blue"/' $W/good.toml >$W/r.toml
kill -HUP $PA
m --router $B --json sub -q 'team=blue' >$W/sub4 2>/dev/null & PIDS="$PIDS $!"
blue() { m --router $A pub -t service=pay 'x' 2>/dev/null; test -s $W/sub4; }
waits 20 blue || wrong "a reload changes no tags"
mixed() { [ "$(m ctl --admin $ADMB rules --json | jq .mixed_events)" -gt 0 ]; }
waits 5 mixed || wrong "mixed versions are not counted"
right "rules add tags at the owner, and every router routes by them"
