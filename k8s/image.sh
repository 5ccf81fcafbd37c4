#!/usr/bin/env bash
# Builds the image without a daemon or a registry, and runs it as three pods would be run: a
# network namespace each, uid 65532, no capabilities, a read-only root; environment, arguments,
# configuration and mounts are those of the base, and a DNS server answers for its headless
# Services. Routers find each other by the name of the mesh, an event goes from one pod to
# another, `sleep` of preStop works, and SIGTERM ends a router in order.
#
#   BIN=target/release k8s/image.sh
#
# Needs root, buildah, runc, ip. BIN: programs that are built already; they take the place of the
# stage that builds them.
set -euo pipefail
cd "$(dirname "$0")/.."
: "${BIN:?the folder of millrace-router, millrace-gateway, millrace and millrace-loadgen}"
BIN=$(realpath "$BIN")
out=$(mktemp -d)
# Names of namespaces and containers are the host's: this run's number is in them.
run=mr$$
pods=(0 1 2)
started=()
finish() {
    local code=$?
    for pod in "${pods[@]}"; do runc --root "$out/runc" delete --force "$run-$pod" >/dev/null 2>&1 || true; done
    if ((${#started[@]})); then kill "${started[@]}" 2>/dev/null || true; wait "${started[@]}" 2>/dev/null || true; fi
    for each in node "${pods[@]}"; do ip netns delete "$run-$each" 2>/dev/null || true; done
    if ((code != 0)); then tail -n 20 "$out"/*/log >&2 2>/dev/null || true; fi
    rm -rf "$out"
    if ((code == 0)); then echo "the image builds and runs"; else echo "FAILED: k8s/image.sh" >&2; fi
}
trap finish EXIT

store=(buildah --storage-driver vfs --root "$out/store" --runroot "$out/run")
k8s/image-files.sh "$BIN" "$out/files/image"
printf 'FROM scratch\nCOPY image /image\n' >"$out/files/Containerfile"
"${store[@]}" bud --quiet --isolation chroot --tag localhost/millrace-files "$out/files" >/dev/null
"${store[@]}" bud --quiet --isolation chroot --file k8s/Containerfile --build-arg BUILDER=scratch \
    --build-arg FILES=localhost/millrace-files --tag localhost/millrace k8s >/dev/null
user=$("${store[@]}" inspect --format '{{.OCIv1.Config.User}}' localhost/millrace)
[[ $user == 65532:65532 ]]
root=$("${store[@]}" mount "$("${store[@]}" from localhost/millrace)")
# Mount points must be there before the root is read-only, as a container engine makes them.
mkdir -p "$root"/{proc,etc/millrace/{config,tls,cluster}}
touch "$root/etc/resolv.conf"

domain=default.svc.cluster.local
certs=(env -u MILLRACE_CERTS "$BIN/millrace" certs --dir "$out/certs")
"${certs[@]}" init >/dev/null
"${certs[@]}" router millrace --san "*.millrace-mesh.$domain,millrace.$domain" >/dev/null
"${certs[@]}" client probe >/dev/null
# As the kubelet lays out a ConfigMap and two Secrets, readable by the pod's group.
mkdir -p "$out"/mounts/{config,tls,cluster}
cp k8s/base/router.toml "$out/mounts/config"
cp "$out/certs/router-millrace.pem" "$out/mounts/tls/tls.crt"
cp "$out/certs/router-millrace.key" "$out/mounts/tls/tls.key"
cp "$out/certs/ca.pem" "$out/mounts/tls/ca.crt"
cp "$out/certs/cluster.secret" "$out/mounts/cluster/secret"
chgrp -R 65532 "$out/mounts"
chmod 0440 "$out"/mounts/*/*
chmod 0755 "$out"
printf 'nameserver 10.99.0.1\noptions ndots:5\nsearch %s\n' "$domain" >"$out/resolv.conf"
chmod 0644 "$out/resolv.conf"

# A node: a bridge with the DNS server; each pod has a link to it.
ip netns add "$run-node"
ip -n "$run-node" link set lo up
ip -n "$run-node" link add bridge type bridge
ip -n "$run-node" address add 10.99.0.1/24 dev bridge
ip -n "$run-node" link set bridge up
for pod in "${pods[@]}"; do
    ip netns add "$run-$pod"
    ip -n "$run-$pod" link add eth0 type veth peer name "pod$pod" netns "$run-node"
    ip -n "$run-node" link set "pod$pod" master bridge up
    ip -n "$run-$pod" address add "10.99.0.1$pod/24" dev eth0
    ip -n "$run-$pod" link set lo up
    ip -n "$run-$pod" link set eth0 up
done
mkdir "$out/dns"
ip netns exec "$run-node" python3 k8s/pods.py dns 10.99.0.1 "$domain" 10.99.0.1 "${#pods[@]}" >"$out/dns/log" 2>&1 &
started+=($!)
for pod in "${pods[@]}"; do
    mkdir "$out/$pod"
    python3 k8s/pods.py bundle "$out" "$root" "$pod" "/var/run/netns/$run-$pod" >"$out/$pod/config.json"
    runc --root "$out/runc" run --bundle "$out/$pod" "$run-$pod" >"$out/$pod/log" 2>&1 &
    started+=($!)
done
inside() {
    local pod=$1
    shift
    ip netns exec "$run-$pod" "$@"
}
for pod in "${pods[@]}"; do
    # The kubelet's probe: the pod's own address.
    inside "$pod" python3 k8s/pods.py ready "10.99.0.1$pod" "$((${#pods[@]} - 1))"
done

# A client beside the pods, which finds them by the names of the Services.
client=(unshare --mount bash -c 'mount --bind "$0" /etc/resolv.conf && exec "$@"' "$out/resolv.conf")
millrace=("$BIN/millrace" --ca "$out/certs/ca.pem" --cert "$out/certs/client-probe.pem"
    --key "$out/certs/client-probe.key")
inside node "${client[@]}" "${millrace[@]}" --router "millrace-2.millrace-mesh.$domain" sub 'from=image' -n 1 \
    >"$out/received" 2>"$out/sub.log" &
sub=$!
for ((i = 0; i < 100; i++)); do
    if grep --quiet cluster "$out/sub.log"; then break; fi
    sleep 0.1
done
inside node "${client[@]}" "${millrace[@]}" --router "millrace.$domain" pub --tag from=image hello
wait "$sub"
grep --quiet hello "$out/received"

runc --root "$out/runc" exec "$run-0" sleep 0
runc --root "$out/runc" exec "$run-0" /usr/bin/millrace-gateway --version
if runc --root "$out/runc" exec "$run-0" sh -c true 2>/dev/null; then
    echo "the image has a shell" >&2
    exit 1
fi
runc --root "$out/runc" kill "$run-0" TERM
wait "${started[1]}"
