#!/bin/bash
# The disk under a spool is full (tmpfs of 16 MiB): publishing must end or go on as --spool-full says, name what is full, and lose nothing
# that is pending. Exit 0: right. 1: wrong. 77: cannot be tried here (no root). Needs $BIN (folder of millrace, millrace-router), bash, jq.
BIN=${BIN:?folder of the binaries}
W=$(mktemp -d); export HOME=$W/home XDG_RUNTIME_DIR=$W/run; mkdir -p $HOME $XDG_RUNTIME_DIR
for v in ROUTER CA CERT KEY SEEDS LISTEN ADMIN CONFIG ADVERTISE; do unset MILLRACE_$v; done
PIDS=; trap 'for p in $PIDS; do kill -9 $p 2>/dev/null; done; umount $W/disk 2>/dev/null; rm -rf $W' EXIT
wrong() { echo "WRONG: $*"; exit 1; }
mkdir $W/disk; mount -t tmpfs -o size=16m tmpfs $W/disk 2>/dev/null || { echo "cannot mount"; exit 77; }
export MILLRACE_ROUTER=127.0.0.1:9
LINE=$(head -c 900 /dev/zero | tr '\0' x)
for full in refuse shed-oldest shed-newest; do
  yes $LINE | head -25000 | "$BIN/millrace" pub --spool $W/disk/$full --spool-free 0 --spool-full $full --lines -t host=a --timeout 100ms --json \
    >$W/out 2>$W/words
  [ $? != 0 ] || wrong "$full: exit code 0 with events that no router has"
  read -r published pending shed < <(jq -r '"\(.published) \(.pending) \(.shed)"' $W/out)
  [ $((pending + shed)) = "$published" ] || wrong "$full: $published published, $pending pending, $shed shed"
  [ "$("$BIN/millrace" spool inspect $W/disk/$full --json | jq .pending)" = "$pending" ] || wrong "$full: not $pending pending"
  case $full in
    refuse) grep -q "no space is left" $W/words || wrong "$full does not say what is full: $(cat $W/words)" ;;
    *) [ "$shed" -gt 0 ] && grep -q "$shed events were shed" $W/words || wrong "$full does not say what was shed: $(cat $W/words)" ;;
  esac
  # A disk that is full must not keep a spool from being emptied.
  "$BIN/millrace" spool drop $W/disk/$full --yes 2>$W/words || wrong "$full: cannot be emptied: $(cat $W/words)"
  rm -rf $W/disk/$full
done
echo "right: refused, shed and counted on a full disk"
