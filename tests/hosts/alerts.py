"""Alert rules of docs/operating/monitoring: what each is about is caused on real routers, and a real
Prometheus says that it fires.

Time is told to Prometheus in small change: a minute of the rules is two seconds here. Of a core's CPU
time a tenth of what the rules say counts as busy, because other programs use the same processors.
What needs days has them: certificates are made that end soon.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.parse
from pathlib import Path

from lab import DOMAIN, HERE, ROUTERS, LeftOut, address, check, until

RULES = HERE.parents[1] / "docs/operating/monitoring/alerts.yaml"
SECONDS_OF_A_MINUTE = 2
#: How long all alerts together may take to fire.
PATIENCE_S = 150

#: Alert to a function of a lab that causes it, and returns the router that it is about.
CAUSES = {}

FLOOD = """
import socket, sys, time
door = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
while True:
    for _ in range(200):
        door.sendto(bytes(1200), (sys.argv[1], int(sys.argv[2])))
    time.sleep(0.02)
"""
#: Stops a thread for as long as this program runs.
STOP = """
import ctypes, os, sys, time
libc = ctypes.CDLL(None, use_errno=True)
for request in [0x4206, 0x4207]:  # PTRACE_SEIZE, PTRACE_INTERRUPT
    if libc.ptrace(request, int(sys.argv[1]), None, None) != 0:
        sys.exit(f"ptrace: {os.strerror(ctypes.get_errno())}")
time.sleep(3600)
"""
RELOADS = """
import os, signal, sys, time
while True:
    os.kill(int(sys.argv[1]), signal.SIGHUP)
    time.sleep(0.004)
"""
ONE_TAG_SET = """
line=$(printf %4000s | tr ' ' x)
while :; do yes "$line" | head -n 100000 | "$@" -t load=1 || sleep 0.2; done
"""
SOME_LINES = 'while sleep 0.1; do date; done | "$@" -t job=1'


def causes(*alerts):
    def keep(function):
        CAUSES.update(dict.fromkeys(alerts, function))
        return function

    return keep


# Routers: name to host, port and settings beside those of all. Each is a cluster of its own, but for the mesh of the
# lab and the two that are far from each other.

ALONE = {
    "down": ("r0", 7410, []),
    "twin": ("r0", 7420, []),
    "unready": ("r0", 7430, ['mesh.seeds=["10.97.0.99:7400"]', "mesh.join_timeout=1h"]),
    "loaded": ("r1", 7440, ["cores.count=1", "limits.queue_budget=1MiB", "limits.receiver_queue=1MiB"]),
    "drops": ("r1", 7450, ["cores.count=1", "limits.socket_buffer=4KiB"]),
    "waits": ("r1", 7460, ["limits.confirm_timeout=1s"]),
    "full": ("r2", 7470, ["cores.count=1", "limits.connections_per_core=1", "canary.every=0s"]),
    "soon": ("r2", 7480, []),
    "now": ("r2", 7490, []),
    "silent": ("r2", 7510, []),
    "mute": ("r2", 7520, []),
    "far": ("r1", 7530, [f'mesh.seeds=["near.{DOMAIN}:7530"]']),
    "near": ("r2", 7530, [f'mesh.seeds=["far.{DOMAIN}:7530"]']),
}
#: Certificates that are not those of all, by the days that are over of 50: the last quarter is warned of.
DAYS = {"soon": 41, "now": 49}
#: Routers whose way to others takes long, and what the others call them.
DISTANT = {"far": f"far.{DOMAIN}", "near": f"near.{DOMAIN}"}
DELAY_MS = 400


def instance(router):
    """The name of a router's admin page in Prometheus."""
    if router in ROUTERS:
        return f"{address(router)}:7401"
    host, port, _ = ALONE[router]
    return f"{address(host)}:{port + 1}"


def start_alone(lab, router, around=(), process=None, host=None, settings=()):
    """Starts a router of ALONE; `around`: what runs it; `process`, `host`: of a second one with its address."""
    home, port, own = ALONE[router]
    words = [lab.programs / "millrace-router", "--config", lab.out / "router.toml", "--listen", f"[::]:{port}"]
    words += ["--admin", f"[::]:{port + 1}", "--name", process or router]
    words += ["--advertise", f"{DISTANT.get(router, f'{home}.{DOMAIN}')}:{port}"]
    for setting in ["admin.tls_listen=off", "mesh.seeds=[]", *own, *settings]:
        words += ["--set", setting]
    if router in DAYS:
        certs = lab.out / "certs"
        lab.certs("router", router, "--san", f"*.{DOMAIN}", "--days", "50", begun=DAYS[router])
        words += ["--cert", certs / f"router-{router}.pem", "--key", certs / f"router-{router}.key"]
    lab.start(host or home, process or router, *around, *words)


def reach(lab, router):
    """Flags of a client of a router of ALONE."""
    host, port, _ = ALONE[router]
    return ["--router", f"{host}.{DOMAIN}:{port}", "--ca", lab.out / "certs/ca.pem"]


def publish(lab, router, script, *words):
    command = [lab.programs / "millrace", "pub", "--quiet", "--lines", *reach(lab, router), *words]
    lab.start("c0", f"{router} publisher", "bash", "-c", script, "-", *command)


def receive_nothing(lab, router, selector, *words):
    """Starts a receiver that takes no event."""
    command = [lab.programs / "millrace", "sub", *reach(lab, router), *words, selector]
    name = f"{router} receiver of {selector}"
    lab.start("c0", name, "bash", "-c", '"$@" | sleep 3600', "-", *command)
    until(20, f"{name} is effective", lambda: "subscribed" in lab.log(name))


# Causes


@causes("MillraceRouterDown")
def a_killed_router(lab):
    lab.end("down", signal.SIGKILL)
    return "down"


@causes("MillraceRouterNotReady")
def a_router_whose_seed_is_nobody(lab):
    return "unready"


@causes("MillraceTwin")
def a_second_process_with_the_address_of_a_router(lab):
    host, port, _ = ALONE["twin"]
    start_alone(lab, "twin", process="second", host="c1", settings=[f'mesh.seeds=["{host}.{DOMAIN}:{port}"]'])
    return "twin"


@causes("MillraceDegraded", "MillracePeerNotLinked")
def one_direction_between_two_routers_of_three(lab):
    if "cut" not in lab.caused:
        lab.cut_one_way("r0", "r1")
        lab.caused.add("cut")
    return "r0"


@causes("MillraceEventsDropped", "MillraceQueuesNearBudget", "MillraceCoreBusy", "MillraceHotShard")
def a_receiver_that_stands_still_and_one_tag_set_as_fast_as_it_goes(lab):
    if "load" not in lab.caused:
        receive_nothing(lab, "loaded", "load", "--queue", "1MiB")
        publish(lab, "loaded", ONE_TAG_SET)
        lab.caused.add("load")
    return "loaded"


@causes("MillraceKernelDrops")
def datagrams_for_which_the_buffer_is_too_small(lab):
    host, port, _ = ALONE["drops"]
    lab.start("c0", "flood", sys.executable, "-c", FLOOD, address(host), port)
    return "drops"


@causes("MillraceConfirmsTimeOut")
def a_receiver_that_acknowledges_nothing(lab):
    command = [lab.programs / "millrace", "sub", *reach(lab, "waits"), "--exec", "sleep 3600", "job"]
    lab.start("c1", "never done", *command)
    until(20, "the receiver is effective", lambda: "subscribed" in lab.log("never done"))
    publish(lab, "waits", SOME_LINES, "--confirm", "delivered")
    return "waits"


@causes("MillraceHandshakesRefused")
def clients_that_a_full_router_refuses(lab):
    lab.start("c1", "only one", lab.programs / "millrace", "sub", *reach(lab, "full"), "n")
    until(20, "the router is full", lambda: "subscribed" in lab.log("only one"))
    host, port, _ = ALONE["full"]
    client = [lab.programs / "millrace", "sub", "--ca", lab.out / "certs/ca.pem", "n"]
    lab.start("c1", "knocks", sys.executable, HERE / "knock.py", address(host), port, *client)
    return "full"


@causes("MillraceCertificateEndsSoon")
def a_certificate_with_nine_days_left(lab):
    return "soon"


@causes("MillraceCertificateEndsNow")
def a_certificate_with_a_day_left(lab):
    return "now"


@causes("MillraceControlBusy", "MillraceCanaryLost")
def a_core_that_stands_still(lab):
    if "stopped" in lab.caused:
        return "silent"
    lab.caused.add("stopped")
    tasks = [task for process in processes(lab, "silent") for task in process.glob("task/*")]
    core = next(task.name for task in tasks if (task / "comm").read_text().startswith("millrace-core-1"))
    lab.start("r2", "stop", sys.executable, "-c", STOP, core)
    return "silent"


@causes("MillraceLogLinesLost")
def standard_error_that_nobody_reads(lab):
    # Each reload is a line. A few thousand fill what waits for a reader.
    of_router = (one for one in processes(lab, "mute") if (one / "comm").read_text() == "millrace-router\n")
    lab.start("r2", "mute reloads", sys.executable, "-c", RELOADS, next(of_router).name)
    return "mute"


@causes("MillraceCanarySlow")
def routers_far_from_each_other(lab):
    return "far"


# Prometheus


def processes(lab, name):
    """The programs of a process group, as folders of /proc."""
    group = lab.running[name].pid
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if os.getpgid(int(folder.name)) == group:
                found.append(folder)
        except ProcessLookupError:
            pass
    return found


def hurried(rules):
    """The rules with time in small change, and CPU time of processors that others use, too."""
    scale = lambda found: f"{int(found[2]) * SECONDS_OF_A_MINUTE * (1000 if found[3] == 'm' else 1000 // 60)}ms"
    rules = re.sub(r"((?:for: |\[))(\d+)([ms])", lambda found: found[1] + scale(found), rules)
    return re.sub(r"(cpu_seconds_total\[\w+\]\)) > 0\.(\d)", r"\1 > 0.0\2", rules)


class Watch:
    """A Prometheus that scrapes routers and knows the rules."""

    def __init__(self, lab, routers):
        self.lab = lab
        (lab.out / "rules.yaml").write_text(hurried(RULES.read_text()))
        targets = json.dumps([instance(router) for router in routers])
        (lab.out / "prometheus.yaml").write_text(f"""
global: {{ scrape_interval: 1s, evaluation_interval: 500ms }}
rule_files: [{lab.out}/rules.yaml]
scrape_configs: [{{ job_name: millrace, static_configs: [{{ targets: {targets} }}] }}]
""")
        data, config = lab.out / "prometheus", lab.out / "prometheus.yaml"
        program = shutil.which("prometheus")
        flags = [f"--config.file={config}", f"--storage.tsdb.path={data}", "--web.listen-address=127.0.0.1:9090"]
        lab.start("net", "prometheus", program, *flags, "--log.level=error")
        up = f'count(up{{job="millrace"}} == 1) == {len(routers)}'
        until(60, "all routers are scraped", lambda: self.ask(f"query?{urllib.parse.urlencode({'query': up})}"))

    def ask(self, what):
        answer = self.lab.get("net", 9090, f"/api/v1/{what}")
        if not answer or answer["status"] != "success":
            return None
        return answer["data"].get("result") or answer["data"].get("alerts")

    def firing(self):
        """Pairs of alert and router."""
        alerts = [alert for alert in self.ask("alerts") or [] if alert["state"] == "firing"]
        return {(alert["labels"]["alertname"], alert["labels"]["instance"]) for alert in alerts}


def start_all(lab):
    zone = json.loads(lab.zone.read_text())
    lab.zone.write_text(json.dumps(zone | {DISTANT["near"]: [address("c0")], DISTANT["far"]: [address("c1")]}))
    for proxy, router in [("c0", "near"), ("c1", "far")]:
        host, port, _ = ALONE[router]
        script = HERE / "delay.py"
        lab.start(proxy, f"way to {router}", sys.executable, script, address(proxy), address(host), DELAY_MS, port)
    lab.start_cluster()
    for router in ALONE:
        around = ["bash", "-c", 'exec "$@" 2> >(sleep 3600)', "-"] if router == "mute" else []
        start_alone(lab, router, around)


def every_alert(lab):
    """Each alert rule fires on a real Prometheus when what it is about happens to real routers."""
    if not shutil.which("prometheus"):
        raise LeftOut("prometheus is not installed")
    named = set(re.findall(r"- alert: (\w+)", RULES.read_text()))
    check(named == set(CAUSES), f"an alert without a cause, or the other way round: {named ^ set(CAUSES)}")
    start_all(lab)
    watch = Watch(lab, [*ROUTERS, *ALONE])
    lab.caused = set()
    wanted = {(alert, instance(cause(lab))) for alert, cause in CAUSES.items()}
    began, fired = time.monotonic(), {}
    while wanted - fired.keys() and time.monotonic() - began < PATIENCE_S:
        fired |= {alert: time.monotonic() - began for alert in (watch.firing() & wanted) - fired.keys()}
        time.sleep(0.5)
    missing = ", ".join(f"{alert} of {router}" for alert, router in sorted(wanted - fired.keys()))
    check(not missing, f"these do not fire: {missing}")
    return f"{len(fired)} alerts, the last one after {max(fired.values()):.0f} s"
