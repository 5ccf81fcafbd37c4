#!/usr/bin/env bash
# Builds the image without a daemon or a registry, and runs it as a pod would be run: uid 65532, no
# capabilities, a read-only root, the ConfigMap of the base and certificates mounted. Then a client
# publishes to it, `sleep` of preStop works, and SIGTERM ends it in order.
#
#   BIN=target/release k8s/image.sh
#
# Needs root, buildah, runc, curl. BIN: programs that are built already; they take the place of the stage
# that builds them.
set -euo pipefail
cd "$(dirname "$0")/.."
: "${BIN:?the folder of millrace-router, millrace and millrace-loadgen}"
out=$(mktemp -d)
name=millrace-image-$$
router=
finish() {
    local code=$?
    runc --root "$out/runc" delete --force "$name" >/dev/null 2>&1 || true
    if [[ -n $router ]]; then wait "$router" || true; fi
    if ((code != 0)) && [[ -e $out/log ]]; then tail -20 "$out/log" >&2; fi
    rm -rf "$out"
    if ((code == 0)); then echo "the image builds and runs"; else echo "FAILED: k8s/image.sh" >&2; fi
}
trap finish EXIT
store=(buildah --storage-driver vfs --root "$out/store" --runroot "$out/run")

k8s/image-files.sh "$BIN" "$out/files/image"
printf 'FROM scratch\nCOPY image /image\n' >"$out/files/Containerfile"
"${store[@]}" bud --quiet --isolation chroot --tag localhost/millrace-files "$out/files"
"${store[@]}" bud --quiet --isolation chroot --file k8s/Containerfile --build-arg BUILDER=scratch \
    --build-arg FILES=localhost/millrace-files --ignorefile /dev/null --tag localhost/millrace k8s
container=$("${store[@]}" from localhost/millrace)
root=$("${store[@]}" mount "$container")
[[ $("${store[@]}" inspect --format '{{.OCIv1.Config.User}}' localhost/millrace) == 65532:65532 ]]

certs=(env -u MILLRACE_CERTS "$BIN/millrace" certs --dir "$out/certs")
"${certs[@]}" init >/dev/null
"${certs[@]}" router millrace --san 127.0.0.1 >/dev/null
"${certs[@]}" client probe >/dev/null
# As the kubelet lays out a ConfigMap and two Secrets, readable by the pod's group.
mkdir -p "$out/mounts/config" "$out/mounts/tls" "$out/mounts/cluster"
cp k8s/base/router.toml "$out/mounts/config"
cp "$out/certs/router-millrace.pem" "$out/mounts/tls/tls.crt"
cp "$out/certs/router-millrace.key" "$out/mounts/tls/tls.key"
cp "$out/certs/ca.pem" "$out/mounts/tls/ca.crt"
cp "$out/certs/cluster.secret" "$out/mounts/cluster/secret"
chgrp -R 65532 "$out/mounts" && chmod 0440 "$out"/mounts/*/*
chmod 0755 "$out"

# Free ports of this host, because the bundle has no network namespace of its own.
read -r quic admin < <(python3 - <<'END'
import socket
held = [socket.socket(type=kind) for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM)]
for each in held:
    each.bind(("127.0.0.1", 0))
print(*(each.getsockname()[1] for each in held))
END
)
python3 - "$out" "$root" "$quic" "$admin" <<'END'
import json, sys
out, root, quic, admin = sys.argv[1:]
mount = lambda source, at: {
    "destination": at, "source": source, "type": "bind", "options": ["bind", "ro", "nosuid", "nodev"],
}
mounts = [mount(f"{out}/mounts/{name}", f"/etc/millrace/{name}") for name in ("config", "tls", "cluster")]
mounts.insert(0, {"destination": "/proc", "type": "proc", "source": "proc"})
json.dump({
    "ociVersion": "1.0.2",
    "process": {
        "user": {"uid": 65532, "gid": 65532},
        "args": ["/usr/bin/millrace-router", "--config", "/etc/millrace/config/router.toml",
                 "--listen", f"127.0.0.1:{quic}", "--admin", f"127.0.0.1:{admin}", "--grace", "1s"],
        "env": ["PATH=/usr/bin", f"MILLRACE_ADVERTISE=127.0.0.1:{quic}"],
        "cwd": "/",
        "noNewPrivileges": True,
        "capabilities": {},
    },
    "root": {"path": root, "readonly": True},
    "mounts": mounts,
    "linux": {"namespaces": [{"type": "pid"}, {"type": "mount"}, {"type": "ipc"}]},
}, open(f"{out}/config.json", "w"))
END
# Mount points must be there before the root is read-only, as a container engine makes them.
mkdir -p "$root/proc" "$root/etc/millrace/config" "$root/etc/millrace/tls" "$root/etc/millrace/cluster"
runc --root "$out/runc" run --bundle "$out" "$name" >"$out/log" 2>&1 &
router=$!
for ((i = 0; i < 100; i++)); do
    if curl --silent --fail --output /dev/null "http://127.0.0.1:$admin/readyz"; then break; fi
    sleep 0.1
done
curl --silent --fail "http://127.0.0.1:$admin/readyz"
"$BIN/millrace" --router "127.0.0.1:$quic" --ca "$out/certs/ca.pem" --cert "$out/certs/client-probe.pem" \
    --key "$out/certs/client-probe.key" pub --tag from=image hello
runc --root "$out/runc" exec "$name" sleep 0
if runc --root "$out/runc" exec "$name" sh -c true 2>/dev/null; then echo "the image has a shell" >&2; exit 1; fi
runc --root "$out/runc" kill "$name" TERM
wait "$router"
router=
