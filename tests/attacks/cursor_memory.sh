#!/bin/sh
# One ordinary client asks for the past behind ever more positions, and takes nothing of it.
# Exit 0: the product does the right thing. Needs $BIN (folder of the binaries) and aioquic 1.x ($PYTHON).
: "${BIN:?folder of the binaries}" "${PYTHON:=python3}"
export BIN
exec timeout 180 "$PYTHON" "$(dirname "$0")/lib/cursor_memory.py"
