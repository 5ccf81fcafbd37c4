# Routers and verdicts for the scripts of this folder, which read this file. BIN: the folder of the programs (default: those
# on PATH). Everything lives in a temporary folder and ends with the script.
[[ -z ${BIN:-} ]] || PATH=$(realpath "$BIN"):$PATH
for program in millrace-router millrace-loadgen curl jq; do
    command -v "$program" >/dev/null || { echo "${0##*/} needs $program on PATH, or BIN" >&2; exit 2; }
done
for name in $(compgen -e | grep '^MILLRACE_' || true); do unset "$name"; done
work=$(mktemp -d)
export HOME=$work XDG_RUNTIME_DIR=$work
declare -A process address admin
finish() {
    local code=$?
    trap - EXIT
    kill -KILL "${process[@]}" 2>/dev/null || true
    wait 2>/dev/null || true
    if ((code)); then tail -n 5 "$work"/*.log >&2; fi
    rm -rf "$work"
    exit $code
}
trap finish EXIT
trap 'exit 130' INT TERM

until_so() { # COMMAND...: waits until it succeeds, 30 s at most
    for _ in $(seq 300); do
        "$@" >/dev/null 2>&1 && return
        sleep 0.1
    done
    echo "${0##*/}: not within 30 s: $*" >&2
    return 1
}

router() { # NAME [OPTION...]: starts a router on a port of its own
    local name=$1
    shift
    millrace-router --listen 127.0.0.1:0 --admin 127.0.0.1:0 --grace 200ms --ready-json "$@" >"$work/$name.json" 2>"$work/$name.log" &
    process[$name]=$!
    until_so grep --quiet '"addr"' "$work/$name.json"
    address[$name]=$(jq --raw-output .addr "$work/$name.json")
    admin[$name]=$(jq --raw-output .admin "$work/$name.json")
}

end_at_once() { # NAME: kills a router
    kill -KILL "${process[$1]}"
    wait "${process[$1]}" 2>/dev/null || true
}

page() { # NAME PATH: a page of a router's admin interface
    curl --silent --fail "http://${admin[$1]}/$2"
}

has_peers() { # NAME COUNT: whether a router is linked with so many others
    [[ $(page "$1" status | jq '[.. | objects | select(.state? == "linked")] | length') == "$2" ]]
}

counted() { # NAME METRIC: the sum of a counter over the cores of a router
    page "$1" metrics | awk -v name="millrace_$2" '$1 ~ "^" name "(_total)?([{]|$)" { sum += $2 } END { printf "%d\n", sum }'
}

has_counted() { # NAME METRIC COUNT: whether a counter of a router has come so far
    (($(counted "$1" "$2") >= $3))
}

judge() { # OPTION...: a verified load; its last word is PASS or FAIL, and its exit code
    # How fast it goes is not the question here: a busy host may be late.
    millrace-loadgen run --quiet --no-step-down --allow rate "$@"
}
