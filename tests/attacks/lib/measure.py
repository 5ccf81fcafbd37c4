"""Attacks at their bound beside honest load, and the same CPU burnt against a port of nobody; see ../measure."""
import argparse, dataclasses, math, platform, select, threading
from h import *
import certs, loads

HERE = pathlib.Path(__file__).parent
#: Latencies below this are no harm, whatever the control's are.
P99_FLOOR_MS = 20.0
#: A core and a thread of the load generator are enough for this load: the rest is for the attacker.
HONEST = ["--preset", "million", "--emitters", "2000", "--receivers", "200", "--publisher-connections", "8",
          "--receiver-connections", "8", "--no-step-down", "--quiet"]
SET_UP_SECONDS = 180
#: Attacks of about the same CPU share a control minute: it burns the least of them, which is the stricter one.
SHARE_STEP = 0.1


def arguments():
    parser = argparse.ArgumentParser(prog="tests/attacks/measure")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--rate", type=int, default=20_000)
    parser.add_argument("--only", action="append", choices=list(loads.LOADS), metavar="NAME")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--within", type=float, metavar="MINUTES", help="attacks that do not begin within this count as failed")
    parser.add_argument("--json", type=pathlib.Path)
    return parser.parse_args()


class Cluster:
    """Two linked routers of one core each, with certificates of an authority of their own."""

    def __init__(self, attack):
        self.folder = tempfile.mkdtemp(prefix="measure-")
        self.ca = certs.CA(self.folder)
        self.secret = f"{self.folder}/secret"
        pathlib.Path(self.secret).write_text("0123456789abcdef0123")
        os.chmod(self.secret, 0o600)
        self.stack = contextlib.ExitStack()
        reader, log = os.pipe() if attack.log_reader_gone else (None, None)
        self.a = self.router("one", *attack.router_args, log=log)
        self.b = self.router("two", "--seed", self.a.addr, *attack.router_args, log=log)
        self.routers = [self.a, self.b]
        self.wait_for_link()
        if reader is not None:
            os.close(reader), os.close(log)

    def arguments(self, name):
        cert, key = self.ca.issue(name, f"millrace://router/{name}")
        return ["--cert", cert, "--key", key, "--ca", self.ca.path, "--secret", self.secret, "--cores", "1"]

    def router(self, name, *more, log):
        stderr = None if log is None else f"/dev/fd/{log}"
        return self.stack.enter_context(Router(*self.arguments(name), *more, xdg=self.folder, stderr=stderr))

    def wait_for_link(self):
        end = time.monotonic() + 15
        while not all(p["state"] == "linked" for r in self.routers for p in r.status()["peers"] or [{"state": ""}]):
            if time.monotonic() > end: raise RuntimeError("the routers did not link")
            time.sleep(0.1)

    def target(self):
        env = {"XDG_RUNTIME_DIR": self.folder, "ROUTER_ARGS": self.arguments("three")}
        cert = self.ca.issue("evil", "millrace://router/evil")
        return loads.Target(self.a.addr, self.b.addr, [self.a.admin, self.b.admin], self.ca.path, list(cert),
                            self.b.info["router"], env)

    def close(self):
        self.stack.close()
        shutil.rmtree(self.folder, ignore_errors=True)


class Attacker:
    """A load in a process of its own, with what it starts."""

    def __init__(self, *argv):
        command = [sys.executable, str(HERE / "loads.py"), *argv]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)

    def wait_until_held(self):
        ready, _, _ = select.select([self.process.stdout], [], [], SET_UP_SECONDS)
        if not ready or self.process.stdout.readline().strip() != b"held":
            self.end()
            raise RuntimeError("the attack could not be set up")

    def cpu(self):
        """CPU seconds of it and its children so far."""
        def of(pid):
            try:
                fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
                tasks = pathlib.Path(f"/proc/{pid}/task").iterdir()
                children = [c for task in tasks for c in (task / "children").read_text().split()]
            except OSError:
                return 0.0
            return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK") + sum(map(of, children))
        return of(self.process.pid)

    def end(self):
        """Ends it and returns its counts; an attacker that has ended by itself is an error."""
        ended_itself = self.process.poll() is not None
        try:
            said, _ = self.process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            said, _ = self.process.communicate()
        # What it has started.
        with contextlib.suppress(ProcessLookupError): os.killpg(self.process.pid, signal.SIGKILL)
        if ended_itself: raise RuntimeError("the attack ended by itself")
        return json.loads(said.splitlines()[-1]) if said.strip() else {}


class Memory:
    """The most that each router takes, looked at ten times a second."""

    def __init__(self, routers):
        self.routers, self.most, self.done = routers, [0.0] * len(routers), threading.Event()
        self.thread = threading.Thread(target=self.look, daemon=True)
        self.thread.start()

    def look(self):
        while not self.done.wait(0.1):
            self.most = [max(most, router.rss()) for most, router in zip(self.most, self.routers)]

    def end(self):
        self.done.set()
        self.thread.join()
        return [round(most, 1) for most in self.most]


def minute(cluster, args):
    """The honest load for so long; what became of it."""
    report = f"{cluster.folder}/load.json"
    command = [f"{BIN}/millrace-loadgen", "run", *HONEST, "--rate", str(args.rate), "--duration", f"{args.seconds}s",
               "--router", cluster.a.addr, "--router", cluster.b.addr, "--ca", cluster.ca.path, "--json", report]
    memory = Memory(cluster.routers)
    ran = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=args.seconds + 240)
    rss = memory.end()
    if not os.path.exists(report):
        raise RuntimeError("the load generator says: " + ran.stderr.decode()[-300:].strip())
    load = json.loads(pathlib.Path(report).read_text())
    return {
        "p50_ms": load["latency_us"]["p50"] / 1e3, "p99_ms": load["latency_us"]["p99"] / 1e3,
        "offered_events_per_s": round(load["offered_events_per_s"]), "published": load["published"],
        "delivered": load["delivered"], "faults": load["faults"], "gaps": load["gaps"], "rss_mib": rss,
        "alive": all(router.alive() for router in cluster.routers),
    }


def measure(name, args, controls):
    attack, result = loads.LOADS[name], {"name": name, "bound": loads.LOADS[name].bound}
    cluster = Cluster(attack)
    try:
        attacker = Attacker(name, json.dumps(dataclasses.asdict(cluster.target())))
        attacker.wait_until_held()
        cpu, began = attacker.cpu(), time.monotonic()
        try:
            result["attack"] = minute(cluster, args)
            share = (attacker.cpu() - cpu) / (time.monotonic() - began)
        finally:
            counts = attacker.end()
        result["attacker_cpu"], result["counts"] = round(share, 2), counts
    finally:
        cluster.close()
    share = math.floor(share / SHARE_STEP) * SHARE_STEP
    key = (attack.router_args, attack.log_reader_gone, round(share, 2))
    if key not in controls:
        controls[key] = control(attack, share, args)
    result["control"], result["control_cpu"] = controls[key], round(share, 2)
    return judge(result, attack, args)


def control(attack, share, args):
    """The honest load beside processes that burn this much CPU; a process burns at most one."""
    cluster, burners = Cluster(attack), []
    try:
        count = max(1, math.ceil(share))
        burners = [Attacker("nobody", str(share / count)) for _ in range(count)]
        for burner in burners: burner.wait_until_held()
        return minute(cluster, args)
    finally:
        for burner in burners: burner.end()
        cluster.close()


def judge(result, attack, args):
    """What was wrong, in words; nothing when all was right."""
    control, under, wrong = result["control"], result["attack"], []
    result["p99_allowed_ms"] = round(max(P99_FLOOR_MS, 2 * control["p99_ms"]), 2)
    result["rss_grown_mib"] = round(max(m - c for m, c in zip(under["rss_mib"], control["rss_mib"])), 1)
    result["rss_budget_mib"] = attack.budget_mib
    if control["faults"]: wrong.append(f"the control has faults: {control['faults']}")
    if not under["alive"]: wrong.append("a router ended")
    if under["faults"]: wrong.append(f"faults: {under['faults']}")
    if under["gaps"]: wrong.append(f"gaps: {under['gaps']}")
    if under["offered_events_per_s"] < 0.97 * args.rate: wrong.append("the rate was not held")
    if under["p99_ms"] > result["p99_allowed_ms"]: wrong.append("p99 is above what is allowed")
    if result["rss_grown_mib"] > attack.budget_mib: wrong.append("memory is above its budget")
    return result | {"wrong": wrong, "verdict": "fail" if wrong else "pass"}


HEAD = f"{'attack':<18}{'verdict':<8}{'p99 ms':>9}{'control':>9}{'lost':>7}{'RSS +MiB':>10}{'budget':>8}{'CPU':>6}"


def row(r):
    if "control" not in r:
        return f"{r['name']:<18}{r['verdict']:<8} {'; '.join(r['wrong'])}"
    line = (f"{r['name']:<18}{r['verdict']:<8}{r['attack']['p99_ms']:>9.1f}{r['control']['p99_ms']:>9.1f}"
            f"{r['attack']['faults'].get('lost', 0):>7}{r['rss_grown_mib']:>10.0f}{r['rss_budget_mib']:>8}"
            f"{r['attacker_cpu']:>6.2f}")
    return "\n".join([line, *(f"    {wrong}" for wrong in r["wrong"])])


def keep(args, results, failed, took):
    """Writes what is known so far: a run that is ended leaves it."""
    if not args.json: return
    version = subprocess.run([f"{BIN}/millrace-router", "--version"], capture_output=True, text=True).stdout.strip()
    wanted = args.only or list(loads.LOADS)
    report = {"schema": "millrace.attacks/2", "seconds": args.seconds, "rate": args.rate, "router": version,
              "host": {"cpus": os.cpu_count(), "kernel": platform.release()}, "took_s": round(took),
              "not_measured": [name for name in wanted if name not in {r["name"] for r in results}],
              "failed": failed, "verdict": "fail" if failed or len(results) < len(wanted) else "pass", "attacks": results}
    args.json.write_text(json.dumps(report) + "\n")


def main():
    args = arguments()
    if args.list:
        for name, attack in loads.LOADS.items(): print(f"{name:<18} {attack.bound}; {attack.budget_mib} MiB")
        return 0
    print(HEAD, flush=True)
    began, results, controls, failed = time.monotonic(), [], {}, []
    for name in args.only or loads.LOADS:
        try:
            if args.within and time.monotonic() - began > args.within * 60:
                raise RuntimeError(f"not measured within {args.within:g} minutes")
            result = measure(name, args, controls)
        except Exception as error:  # One attack that cannot be measured does not end the others.
            result = {"name": name, "bound": loads.LOADS[name].bound, "verdict": "fail", "wrong": [str(error)]}
        results.append(result)
        print(row(result), flush=True)
        failed = [r["name"] for r in results if r["verdict"] != "pass"]
        keep(args, results, failed, time.monotonic() - began)
    print("all passed" if not failed else "failed: " + ", ".join(failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
