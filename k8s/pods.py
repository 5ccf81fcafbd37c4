"""What a cluster gives to pods, for image.sh.

    pods.py bundle OUT ROOT POD NETNS        config.json of a bundle, from base/statefulset.yaml
    pods.py dns ADDRESS DOMAIN FIRST COUNT   answers for the headless Services: pod N is FIRST+9+N
    pods.py ready ADDRESS PEERS              waits until a pod is ready, linked with so many others
"""

import ipaddress
import json
import re
import socket
import struct
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

BASE = Path(__file__).resolve().parent / "base"


def bundle(out, root, pod, netns):
    text = (BASE / "statefulset.yaml").read_text()
    facts = {"POD_NAME": f"millrace-{pod}", "POD_NAMESPACE": "default"}
    given = re.findall(r'- name: (MILLRACE_\w+)\n\s+value: "?([^"\n]+)"?\n', text)
    fact = lambda found: facts[found[1]]
    given = [(name, re.sub(r"\$\((\w+)\)", fact, value)) for name, value in given]
    arguments = re.search(r"^ +args: \[(.+)\]$", text, re.MULTILINE)[1].split(", ")
    paths = re.findall(r"- name: (\w+)\n\s+mountPath: (\S+)\n\s+readOnly: true\n", text)
    user = int(re.search(r"runAsUser: (\d+)", text)[1])
    mounts = [(f"{out}/mounts/{name}", path) for name, path in paths]
    mounts.append((f"{out}/resolv.conf", "/etc/resolv.conf"))
    options = ["bind", "ro", "nosuid", "nodev"]
    namespaces = [{"type": kind} for kind in ("pid", "mount", "ipc", "uts")]
    return {
        "ociVersion": "1.0.2",
        "hostname": facts["POD_NAME"],
        "process": {
            "user": {"uid": user, "gid": user},
            "args": ["/usr/bin/millrace-router", *arguments],
            "env": ["PATH=/usr/bin", *(f"{name}={value}" for name, value in given)],
            "cwd": "/",
            "noNewPrivileges": True,
            "capabilities": {},
        },
        "root": {"path": root, "readonly": True},
        "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}]
        + [
            {"destination": path, "source": source, "type": "bind", "options": options}
            for source, path in mounts
        ],
        "linux": {"namespaces": namespaces + [{"type": "network", "path": netns}]},
    }


def dns(address, domain, first, count):
    """Answers A; other types of these names have no records, other names do not exist."""
    addresses = [ipaddress.IPv4Address(first) + 9 + pod for pod in range(int(count))]
    records = {f"millrace-mesh.{domain}": addresses, f"millrace.{domain}": addresses}
    records |= {f"millrace-{pod}.millrace-mesh.{domain}": [at] for pod, at in enumerate(addresses)}
    server = socket.socket(type=socket.SOCK_DGRAM)
    server.bind((address, 53))
    while True:
        query, client = server.recvfrom(512)
        labels, at = [], 12
        while query[at]:
            labels.append(query[at + 1 : at + 1 + query[at]].decode().lower())
            at += 1 + query[at]
        question = query[12 : at + 5]
        found = records.get(".".join(labels))
        answers = found if found and question[-4:-2] == b"\0\1" else []
        flags = 0x8580 if found else 0x8583
        reply = query[:2] + struct.pack(">HHHHH", flags, 1, len(answers), 0, 0) + question
        for answer in answers:
            reply += struct.pack(">HHHIH", 0xC00C, 1, 1, 5, 4) + answer.packed
        server.sendto(reply, client)


def ready(address, peers):
    until, last = time.monotonic() + 20, "nothing"
    while time.monotonic() < until:
        try:
            with urllib.request.urlopen(f"http://{address}:7401/readyz", timeout=2) as answer:
                last = answer.read().decode()
            with urllib.request.urlopen(f"http://{address}:7401/status", timeout=2) as answer:
                status = json.load(answer)
            linked = [peer for peer in status["peers"] if peer["state"] == "linked"]
            last = f"{last.strip()}, linked with {len(linked)}"
            if len(linked) == int(peers):
                return print(f"{status['name']}: {last}")
        except urllib.error.HTTPError as error:
            last = error.read().decode()
        except OSError as error:
            last = str(error)
        time.sleep(0.1)
    sys.exit(f"{address} is not ready: {last}")


match sys.argv[1:]:
    case ["bundle", *rest]:
        json.dump(bundle(*rest), sys.stdout)
    case ["dns", *rest]:
        dns(*rest)
    case ["ready", *rest]:
        ready(*rest)
    case _:
        sys.exit(__doc__)
