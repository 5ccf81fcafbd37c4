"""The Python client against real routers, and against the `millrace` command in both directions.

    pip install -r requirements.txt
    MILLRACE_BIN=../../../target/release python3 test_against_router.py

Two routers in development mode are started on free ports, with a folder of their own. Ends with `N passed, 0 failed`; what is
missing (a binary, aioquic) is a failure.
"""

import asyncio
import contextlib
import importlib.util
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import threading
import traceback
import unittest
import unittest.mock

HERE = pathlib.Path(__file__).resolve().parent
BIN = pathlib.Path(os.environ.get("MILLRACE_BIN", HERE.parents[2] / "target/release")).resolve()
WAIT_SECONDS = 30
TAGS = ["--tag", "host=web-1", "--tag", "type=raid"]


class Process:
    """A child whose standard output is read line by line in the background."""

    def __init__(self, command, env, stdin=None):
        self.child = subprocess.Popen(
            [str(word) for word in command],
            env=env,
            stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.alarm = threading.Timer(WAIT_SECONDS, self.child.kill)
        self.alarm.start()
        if stdin is not None:
            self.child.stdin.write(stdin)
            self.child.stdin.close()
            self.child.stdin = None

    def wait_for(self, word):
        """Reads standard error up to a line with this word."""
        said = []
        for line in self.child.stderr:
            said.append(line.decode())
            if word in said[-1]:
                return
        raise AssertionError(f"{self.child.args} ended before it said {word!r}; it said: {''.join(said)}")

    def end(self):
        """What it printed; it must end well, by itself and in time."""
        out, err = self.child.communicate()
        self.alarm.cancel()
        if self.child.returncode != 0:
            raise AssertionError(f"{self.child.args} ended with {self.child.returncode}: {err.decode()}{out.decode()[:2000]}")
        return out.decode()

    def kill(self):
        self.alarm.cancel()
        if self.child.poll() is None:
            self.child.kill()
        self.child.communicate()


class Cluster:
    """Two linked routers; clients publish through the second and receive from the first, unless they say otherwise."""

    def __init__(self, stack):
        self.stack = stack
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        kept = {name: value for name, value in os.environ.items() if not name.startswith("MILLRACE_")}
        self.env = kept | {"XDG_RUNTIME_DIR": folder, "HOME": folder, "PYTHONDONTWRITEBYTECODE": "1"}
        first = self.router()
        second = self.router("--seed", first["addr"], "--set", "mesh.join_timeout=1h")
        self.routers = [first["addr"], second["addr"]]
        self.ca = first["ca"]

    def router(self, *arguments):
        command = [BIN / "millrace-router", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--ready-json"]
        child = subprocess.Popen([*command, *arguments], env=self.env, stdout=subprocess.PIPE)
        self.stack.callback(stop, child)
        alarm = threading.Timer(WAIT_SECONDS, child.kill)
        alarm.start()
        line = child.stdout.readline()
        alarm.cancel()
        if not line:
            raise AssertionError("the router ended before it was ready")
        return json.loads(line)

    def run(self, command, router, arguments, stdin=None):
        process = Process([*command, "--router", self.routers[router], *arguments], self.env, stdin)
        self.stack.callback(process.kill)
        return process

    def python(self, program, arguments, router, stdin=None):
        ca = ["--ca", self.ca]
        return self.run([sys.executable, HERE / program], router, [*ca, *arguments], stdin)

    def millrace(self, command, arguments, router, stdin=None):
        return self.run([BIN / "millrace", command], router, arguments, stdin)

    def python_receives(self, arguments, router=0):
        process = self.python("receive.py", arguments, router)
        process.wait_for("subscribed")
        return process

    def millrace_receives(self, arguments, router=0):
        process = self.millrace("sub", arguments, router)
        process.wait_for("cluster")
        return process


def stop(router):
    """Asks the router to end, which it must do in order."""
    router.send_signal(signal.SIGTERM)
    try:
        code = router.wait(WAIT_SECONDS)
    finally:
        router.kill()
        router.stdout.close()
    if code != 0:
        raise AssertionError(f"the router ended with {code}")


def objects(text):
    return [json.loads(line) for line in text.splitlines()]


def same(got, expected):
    if got != expected:
        raise AssertionError(f"expected {expected!r}, got {got!r}")


# Each test gets a cluster of its own.


def python_to_python_across_the_mesh(cluster):
    receiver = cluster.python_receives(["--count", "2", "host=web-*,payload ~ /RAID/"])
    cluster.python("publish.py", [*TAGS, "RAID STATUS CHANGE", "no such thing", "RAID ok – größer"], 1).end()
    events = objects(receiver.end())
    same([event["payload"] for event in events], ["RAID STATUS CHANGE", "RAID ok – größer"])
    same([event["tags"] for event in events], [{"host": "web-1", "type": "raid"}] * 2)
    same([event["seq"] for event in events], [0, 2])


def python_to_millrace(cluster):
    receiver = cluster.millrace_receives(["--json", "-n", "3", "type=raid,host!=web-2"])
    cluster.python("publish.py", ["--tag", "host=web-2", "--tag", "type=raid", "not for you"], 1).end()
    cluster.python("publish.py", TAGS, 1, stdin=b"one\n\xff\ntab\tthree").end()
    events = objects(receiver.end())
    same([event.get("payload", event.get("payload_hex")) for event in events], ["one", "ff", "tab\tthree"])
    same([event["seq"] for event in events], [0, 1, 2])
    same({(event["publisher"], event["epoch"]) for event in events}, {(events[0]["publisher"], events[0]["epoch"])})


def millrace_to_python(cluster):
    receiver = cluster.python_receives(["--count", "3", "host,payload ~ /^[a-z]+$/"])
    log = "one\nTWO\ntwo\n3\nthree\n"
    summary = cluster.millrace("pub", ["--lines", "--json", *TAGS], 1, stdin=log.encode()).end()
    same([json.loads(summary)[key] for key in ("published", "received", "unknown")], [5, 5, 0])
    events = objects(receiver.end())
    same([event["payload"] for event in events], ["one", "two", "three"])
    same([event["seq"] for event in events], [0, 2, 4])


def one_publisher_reaches_both_kinds_on_both_routers(cluster):
    receivers = [cluster.python_receives(["--count", "2000", "*"], router) for router in (0, 1)]
    receivers += [cluster.millrace_receives(["--json", "-n", "2000", "*"], router) for router in (0, 1)]
    log = "".join(f"line {number}\n" for number in range(1000)).encode()
    cluster.python("publish.py", ["--batch", "--tag", "from=python"], 0, stdin=log).end()
    cluster.millrace("pub", ["--lines", "--tag", "from=rust"], 1, stdin=log).end()
    for receiver in receivers:
        events = objects(receiver.end())
        for source in ("python", "rust"):
            got = [event["payload"] for event in events if event["tags"] == {"from": source}]
            same(got, log.decode().splitlines())


def large_payloads_and_a_small_window(cluster):
    """Every frame is larger than the window, and all of them fit into the router's queue (1 MiB)."""
    receiver = cluster.python_receives(["--count", "4", "--window", "65536", "*"])
    big = [str(number) * 200_000 for number in range(4)]
    cluster.millrace("pub", ["--lines", "--tag", "size=large"], 1, stdin="\n".join(big).encode()).end()
    same([event["payload"] for event in objects(receiver.end())], big)


def more_tag_sets_than_a_table_holds(cluster):
    """Through the module: each run has a tag set of its own. The router has to reuse the numbers of the receiver's table, and
    the publisher writes tag sets inline once the router's table is full."""
    import millrace

    total, table_sets = 2000, 256

    async def publish(publisher):
        for number in range(total):
            await publisher.publish({"n": str(number)}, [b"%d" % number])
        await publisher.flush()

    async def run():
        async with (
            millrace.connect(cluster.routers[0], cluster.ca) as near,
            millrace.connect(cluster.routers[1], cluster.ca) as far,
        ):
            far.welcome["tables"][0] = table_sets
            receiver = await near.open_receiver()
            await receiver.subscribe(["n,n!=7"])
            publishing = asyncio.create_task(publish(await far.publisher()))
            got = [await receiver.next() for _ in range(total - 1)]
            await publishing
        wrong = [event for event in got if event.get("payload") != event.get("tags", {}).get("n", "").encode()]
        same(wrong, [])
        same(sorted(int(event["payload"]) for event in got), [n for n in range(total) if n != 7])

    with unittest.mock.patch.object(millrace, "TABLES", (table_sets, *millrace.TABLES[1:])):
        asyncio.run(asyncio.wait_for(run(), WAIT_SECONDS))


def refusals_and_mistakes_are_told(cluster):
    process = cluster.python("receive.py", ["host in ("], 0)
    _, err = process.child.communicate()
    process.alarm.cancel()
    if process.child.returncode == 0 or b"column" not in err or b"Traceback" in err:
        raise AssertionError(f"a bad selector was not refused: {err.decode()}")


TESTS = [
    python_to_python_across_the_mesh,
    python_to_millrace,
    millrace_to_python,
    one_publisher_reaches_both_kinds_on_both_routers,
    large_payloads_and_a_small_window,
    more_tag_sets_than_a_table_holds,
    refusals_and_mistakes_are_told,
]


def golden_vectors():
    suite = unittest.defaultTestLoader.loadTestsFromName("test_wire")
    result = unittest.TextTestRunner(stream=sys.stderr, verbosity=0).run(suite)
    return result.testsRun - len(result.failures) - len(result.errors), len(result.failures) + len(result.errors)


def main():
    missing = [str(BIN / name) for name in ("millrace-router", "millrace") if not (BIN / name).is_file()]
    missing += [name for name in ("aioquic",) if not importlib.util.find_spec(name)]
    if missing:
        sys.exit(f"missing: {', '.join(missing)}")
    passed, failed = golden_vectors()
    for test in TESTS:
        try:
            with contextlib.ExitStack() as stack:
                test(Cluster(stack))
            passed += 1
            print(f"ok      {test.__name__}", flush=True)
        except Exception:
            failed += 1
            print(f"FAILED  {test.__name__}", flush=True)
            traceback.print_exc()
    print(f"{passed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
