"""Hosts in network namespaces: routers, clients, and a DNS server on one bridge.

Everything that runs here is the programs that ship, with a configuration file that all routers
share. A host is cut off by taking its link down, or in one direction by a route that leads nowhere.
"""

import ctypes
import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).resolve().parent
NET = "10.97.0"
DNS = f"{NET}.1"
DOMAIN = "hosts.test"
#: The name behind which all routers are, for clients and as the routers' seed.
ALL = f"millrace.{DOMAIN}"
ROUTERS = ["r0", "r1", "r2"]
CLIENTS = ["c0", "c1"]
PLACES = {name: 10 + place for place, name in enumerate(ROUTERS)}
PLACES |= {name: 20 + place for place, name in enumerate(CLIENTS)}
READY_S = 20
CLONE_NEWNET = 0x40000000


class Failed(Exception):
    """A scenario did not hold."""


class LeftOut(Exception):
    """A scenario needs what is not here."""


def check(holds, what):
    if not holds:
        raise Failed(what)


def until(seconds, what, holds):
    """Waits until something holds. Returns it and the seconds that this took."""
    began = time.monotonic()
    while True:
        found = holds()
        took = time.monotonic() - began
        if found:
            return found, took
        check(took < seconds, f"{what}: not within {seconds} s")
        time.sleep(0.05)


def ip(*words, **options):
    subprocess.run(["ip", *words], check=True, **options)


def enter(space):
    """Moves this thread into a network namespace."""
    libc = ctypes.CDLL(None, use_errno=True)
    with Path(f"/var/run/netns/{space}").open() as file:
        if libc.setns(file.fileno(), CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), f"setns: {space}")


def address(host):
    return f"{NET}.{PLACES[host]}"


class Lab:
    """The hosts, and what runs on them. Closing it leaves nothing behind."""

    def __init__(self, programs, out):
        self.programs, self.out = Path(programs), Path(out)
        self.prefix = f"mh{os.getpid()}"
        self.running = {}
        self.zone = self.out / "zone"
        self.resolv = self.out / "resolv.conf"
        self.spaces = []

    def __enter__(self):
        try:
            self.lay_out()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for process in self.running.values():
            # A program may have started others.
            os.killpg(process.pid, signal.SIGCONT)
            os.killpg(process.pid, signal.SIGKILL)
        # One may end only when another one does.
        for process in self.running.values():
            process.wait()
        for space in self.spaces:
            subprocess.run(["ip", "netns", "delete", space], check=False)

    def space(self, host):
        return f"{self.prefix}-{host}"

    def lay_out(self):
        for host in ["net", *PLACES]:
            ip("netns", "add", self.space(host))
            self.spaces.append(self.space(host))
            ip("-n", self.space(host), "link", "set", "lo", "up")
        net = self.space("net")
        ip("-n", net, "link", "add", "bridge", "type", "bridge")
        ip("-n", net, "address", "add", f"{DNS}/24", "dev", "bridge")
        ip("-n", net, "link", "set", "bridge", "up")
        for host in PLACES:
            space = self.space(host)
            ip("-n", space, "link", "add", "eth0", "type", "veth", "peer", "name", host, "netns", net)
            ip("-n", net, "link", "set", host, "master", "bridge", "up")
            ip("-n", space, "address", "add", f"{address(host)}/24", "dev", "eth0")
            ip("-n", space, "link", "set", "eth0", "up")
        self.resolv.write_text(f"nameserver {DNS}\noptions timeout:1 attempts:2\n")
        self.name(ROUTERS)
        self.start("net", "names", sys.executable, HERE / "names.py", DNS, self.zone)
        self.make_certificates()
        (self.out / "router.toml").write_text(self.configuration())

    def configuration(self, log="info", rebalance="auto", first=False):
        """The file of all routers; `first`: without what the first wire's router does not know."""
        certs = self.out / "certs"
        tls_listen = "" if first else 'tls_listen = "[::]:7402"'
        mesh = "" if first else f'rebalance = "{rebalance}"'
        return f"""
listen = "[::]:7400"

grace = "4s"

[cores]
count = 2

[admin]
listen = "[::]:7401"
{tls_listen}

[mesh]
seeds = ["{ALL}"]
{mesh}

[tls]
cert = "{certs}/router.pem"
key = "{certs}/router.key"
ca = "{certs}/ca.pem"
secret = "{certs}/cluster.secret"

[log]
filter = "{log}"
"""

    def certs(self, *words, begun=0):
        """Runs `millrace certs`; `begun`: so many days ago."""
        env = {name: value for name, value in os.environ.items() if name != "MILLRACE_CERTS"}
        command = [self.programs / "millrace", "certs", "--dir", self.out / "certs", *words]
        command = ["faketime", f"{begun} days ago", *command] if begun else command
        subprocess.run(command, check=True, env=env, stdout=subprocess.DEVNULL)

    def make_certificates(self):
        self.certs("init")
        self.certs("admin", "ann")
        self.renew_certificate()

    def operator(self):
        """The options by which routers obey from another host."""
        certs = self.out / "certs"
        return ["--ca", certs / "ca.pem", "--cert", certs / "admin-ann.pem", "--key", certs / "admin-ann.key"]

    def renew_certificate(self):
        """A certificate for all routers, under the file names of their configuration."""
        certs = self.out / "certs"
        for old in certs.glob("router*"):
            old.unlink()
        self.certs("router", "all", "--san", f"*.{DOMAIN},{ALL}")
        for kind in ["pem", "key"]:
            (certs / f"router-all.{kind}").rename(certs / f"router.{kind}")

    def name(self, routers):
        """What the DNS server answers for the name of all."""
        zone = {f"{router}.{DOMAIN}": [address(router)] for router in ROUTERS}
        zone[ALL] = [address(router) for router in routers]
        zone[f"far.{DOMAIN}"] = [address("c1")]
        # A reader sees the old answers or the new ones.
        new = self.zone.with_suffix(".new")
        new.write_text(json.dumps(zone))
        new.rename(self.zone)

    def command(self, host, *words):
        script = 'mount --bind "$0" /etc/resolv.conf && exec "$@"'
        inside = ["ip", "netns", "exec", self.space(host)]
        return [*inside, "unshare", "--mount", "sh", "-c", script, self.resolv, *map(str, words)]

    def start(self, host, name, *words, **options):
        """Starts a program on a host. Its output is in a file of its name."""
        env = {**os.environ, **options.pop("env", {})}
        log = (self.out / f"{name}.log").open("ab")
        output = options.pop("stdout", log)
        process = subprocess.Popen(
            self.command(host, *words), stdout=output, stderr=log, stdin=subprocess.DEVNULL, env=env, start_new_session=True, **options
        )
        self.running[name] = process
        return process

    def log(self, name):
        path = self.out / f"{name}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    # Routers

    def first_programs(self):
        """The folder of the router of the first wire (`first-router`)."""
        built = subprocess.run([HERE / "first-router"], capture_output=True, text=True, check=False)
        if built.returncode == 77:
            raise LeftOut(built.stderr.strip())
        check(built.returncode == 0, f"first-router: {built.stderr.strip()[-1500:]}")
        return Path(built.stdout.strip())

    def start_router(self, router, *flags, known_as=None, first=None):
        """Starts a router; `first`: the folder of the first wire's program."""
        config = self.out / ("first.toml" if first else "router.toml")
        if first:
            config.write_text(self.configuration(first=True))
        self.start(
            router,
            router,
            (first or self.programs) / "millrace-router",
            "--config",
            config,
            "--name",
            router,
            "--advertise",
            f"{known_as or router}.{DOMAIN}:7400",
            *flags,
        )

    def start_cluster(self, routers=ROUTERS):
        for router in routers:
            self.start_router(router)
        self.linked(routers)

    def linked(self, routers, seconds=READY_S):
        """Waits until routers are ready and linked with each other. Returns how long that took."""
        return max(
            until(seconds, f"{router} is linked", lambda: self.has_links(router, routers))[1]
            for router in routers
        )

    def has_links(self, router, routers):
        peers = {peer["name"] for peer in self.peers(router) if peer["state"] == "linked"}
        return self.is_ready(router) and peers >= set(routers) - {router}

    def peers(self, router):
        status = self.ask(router, "/status")
        return status["peers"] if status else []

    def is_ready(self, router):
        return self.ask(router, "/readyz", raw=True) is not None

    def clients(self, router):
        status = self.ask(router, "/status")
        return sum(core["clients"] for core in status["cores"]) if status else 0

    def end(self, name, how=signal.SIGTERM, seconds=10):
        process = self.running.pop(name)
        process.send_signal(how)
        return process.wait(seconds)

    def signal(self, name, how):
        self.running[name].send_signal(how)

    def ask(self, router, path, raw=False):
        """An answer of a router's admin page, or None."""
        return self.get(router, 7401, path, raw)

    def get(self, host, port, path, raw=False):
        """An answer over HTTP on a host, or None."""
        found = []

        def read():
            try:
                enter(self.space(host))
                page = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
                page.request("GET", path, headers={"Accept": "application/json"})
                answer = page.getresponse()
                if answer.status == 200:
                    text = answer.read().decode()
                    found.append(text if raw else json.loads(text))
            except OSError:
                pass

        # A thread may be in another network namespace than its process.
        thread = threading.Thread(target=read)
        thread.start()
        thread.join()
        return found[0] if found else None

    # Clients

    def reach(self, *routers):
        """Flags of a client that may use these routers, or whichever the name of all leads to."""
        given = [f"{router}.{DOMAIN}" for router in routers] or [ALL]
        return [*(word for router in given for word in ("--router", router)), "--ca", self.out / "certs/ca.pem"]

    def millrace(self, host, command, *words, **options):
        done = subprocess.run(
            self.command(host, self.programs / "millrace", command, *words),
            capture_output=True,
            text=True,
            timeout=options.pop("timeout", 30),
            **options,
        )
        check(done.returncode == 0, f"millrace {command} on {host}: {done.stderr.strip()[-500:]}")
        return done.stdout

    def subscribe(self, host, name, *words):
        """Starts a receiver, and waits until its selector is effective in the cluster."""
        self.subscribe_all(host, [name], *words)

    def subscribe_all(self, host, names, *words):
        """The same for several that are equal."""
        for name in names:
            output = (self.out / f"{name}.out").open("wb")
            self.start(host, name, self.programs / "millrace", "sub", "--json", *words, stdout=output)
        for name in names:
            until(20, f"{name} is effective", lambda: "cluster" in self.log(name))

    def received(self, name):
        path = self.out / f"{name}.out"
        lines = path.read_text().splitlines(keepends=True) if path.exists() else []
        return [json.loads(line) for line in lines if line.endswith("\n")]

    @contextmanager
    def load(self, host="c0", seconds=5, rate=5000, routers=()):
        """A load while the body runs; then its verdict, as loadgen gives it. Whether this machine holds
        the rate beside all these programs is no part of it.
        """
        report = self.out / "load.json"
        report.unlink(missing_ok=True)
        words = ["run", "--preset", "mesh", "--driver", "client", "--rate", rate, "--duration", f"{seconds}s"]
        words += ["--emitters", "40", "--receivers", "20", "--publisher-connections", "2", "--receiver-connections", "4"]
        words += ["--no-step-down", "--allow", "rate", "--quiet", "--json", report]
        program = self.programs / "millrace-loadgen"
        process = self.start(host, "load", program, *words, *self.reach(*(routers or ROUTERS)))
        until(10, "the load begins", lambda: process.poll() is not None or self.clients_at_all() >= 4)
        verdict = {}
        yield verdict
        code = process.wait(seconds + 40)
        self.running.pop("load")
        if report.exists():
            verdict |= json.loads(report.read_text())
        check(code == 0, f"loadgen: exit code {code}: {self.log('load')[-1500:]}")

    def clients_at_all(self):
        return sum(self.clients(router) for router in ROUTERS if router in self.running)

    # Faults

    def cut_off(self, host, cut=True):
        ip("-n", self.space("net"), "link", "set", host, "down" if cut else "up")

    def cut_one_way(self, sender, receiver, cut=True):
        """What `sender` sends to `receiver` is lost; the other direction works."""
        verb = "add" if cut else "delete"
        ip("-n", self.space(sender), "route", verb, "blackhole", f"{address(receiver)}/32")
