#!/bin/sh
# One ordinary client opens 1,024 receivers and takes what comes, of 4,096 tag sets: the names on its streams.
# Exit 0: the product does the right thing. Needs $BIN (folder of the binaries) and aioquic 1.x ($PYTHON).
: "${BIN:?folder of the binaries}" "${PYTHON:=python3}"
export BIN
exec timeout 180 "$PYTHON" "$(dirname "$0")/lib/table_memory.py"
