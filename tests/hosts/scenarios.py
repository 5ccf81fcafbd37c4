"""What happens to a cluster on several hosts, and what must hold then.

A scenario is a function of a Lab. It raises Failed where something does not hold, and returns what
is worth saying of a run that held.
"""

import signal
import sys
import time

import alerts
from lab import DOMAIN, HERE, ROUTERS, address, check, until

#: By name, in the order in which they are played.
ALL = {}
#: Those that take minutes.
LONG = set()


def scenario(function):
    ALL[function.__name__] = function
    return function


def long(function):
    LONG.add(function.__name__)
    return scenario(function)


class Beats:
    """A publisher of one numbered event every 20 ms, and receivers of them, each where it is told."""

    SCRIPT = 'n=0; while sleep 0.02; do n=$((n + 1)); echo "$n $(date +%s.%N)"; done | exec "$@"'

    def __init__(self, lab, publish=(), subscribe=(), receivers=("beats",)):
        self.lab, self.receivers = lab, receivers
        lab.subscribe_all("c0", receivers, *lab.reach(*subscribe), "beat")
        command = [lab.programs / "millrace", "pub", "--lines", *lab.reach(*publish), "--tag", "beat=1"]
        lab.start("c1", "heart", "bash", "-c", self.SCRIPT, "-", *command)
        until(10, "receivers get beats", lambda: all(self.all(name) for name in receivers))

    def all(self, name="beats"):
        """Numbers and times (seconds since 1970) of what arrived."""
        words = [event["payload"].split() for event in self.lab.received(name) if "payload" in event]
        return [(int(number), float(at)) for number, at in words]

    def missing(self, name="beats"):
        """How many beats are missing; each stands behind a gap, and none comes twice or late."""
        last, is_told, missing = None, False, 0
        for event in self.lab.received(name):
            if "payload" not in event:
                is_told = True
                continue
            number = int(event["payload"].split()[0])
            if last is not None:
                check(number > last, f"beat {number} comes behind {last}")
                check(number == last + 1 or is_told, f"no gap between beats {last} and {number}")
                missing += number - last - 1
            last, is_told = number, False
        return missing

    def gaps(self, name="beats"):
        """What the receiver was told in place of events."""
        return [event for event in self.lab.received(name) if "payload" not in event]

    def since(self, time_s, name="beats"):
        return [beat for beat in self.all(name) if beat[1] > time_s]

    def all_have_everything(self):
        """Every receiver gets beats at this moment, has missed none, and was told of no gap."""
        now = time.time()
        until(10, "beats go on", lambda: all(self.since(now, name) for name in self.receivers))
        for name in self.receivers:
            check(self.missing(name) == 0 and not self.gaps(name), f"{name} misses {self.missing(name)}: {self.gaps(name)}")


@scenario
def everywhere(lab):
    """A receiver on one router gets what is published on all of them."""
    lab.start_cluster()
    lab.subscribe("c0", "sub", *lab.reach("r0"), "--count", "3", "n")
    for place, router in enumerate(ROUTERS):
        lab.millrace("c1", "pub", *lab.reach(router), "--tag", f"n={place}", "hello")
    check(lab.running.pop("sub").wait(10) == 0, "the receiver ends in order")
    tags = sorted(event["tags"]["n"] for event in lab.received("sub") if "tags" in event)
    check(tags == ["0", "1", "2"], f"one event of each router: {tags}")


@scenario
def balance(lab):
    """Clients that know one name spread over all routers."""
    lab.start_cluster()
    count = 24
    for number in range(count):
        lab.start("c0", f"sub{number}", lab.programs / "millrace", "sub", "--quiet", *lab.reach(), "n=1")
    until(20, "all are attached", lambda: lab.clients_at_all() >= count)
    shares = [lab.clients(router) for router in ROUTERS]
    check(min(shares) >= 2, f"every router has its share: {shares}")
    return f"{shares} of {count}"


@scenario
def rebalance(lab):
    """All clients of one router become even shares of three, in one call and without a second swing."""
    lab.start_cluster()
    count = 30
    for number in range(count):
        lab.start("c0", f"sub{number}", lab.programs / "millrace", "sub", "--quiet", *lab.reach("r0"), "n=1")
    until(20, "all are attached", lambda: lab.clients("r0") == count)
    pages = [word for router in ROUTERS for word in ("--admin", f"https://{router}.{DOMAIN}:7402")]
    pages += lab.operator()
    lab.millrace("c1", "ctl", *pages, "rebalance", "--within", "3s")
    for _ in range(10):
        shares = [lab.clients(router) for router in ROUTERS]
        check(max(shares) - min(shares) <= 1, f"even shares: {shares}")
        time.sleep(0.2)
    check("nobody moves" in lab.millrace("c1", "ctl", *pages, "rebalance"), "a second call moves nobody")
    return f"{shares} of {count}"


def crowd(lab, count):
    """So many clients on r0 and none on r1: receivers of beats, and their publisher."""
    lab.name(["r0", "r1"])
    lab.start_cluster(["r0", "r1"])
    names = [f"beats {number}" for number in range(1, count)]
    beats = Beats(lab, publish=["r0"], subscribe=["r0"], receivers=names)
    check(shares(lab) == (count, 0), f"all are on r0: {shares(lab)}")
    return beats


def shares(lab):
    return lab.clients("r0"), lab.clients("r1")


def even(lab, count):
    """Whether each of two routers has half of the clients, within 5 % of it."""
    return all(abs(share - count / 2) <= count / 2 * 0.05 for share in shares(lab))


@scenario
def rebalance_two(lab):
    """Two routers with 100 % and 0 % of the clients have a half each after one call; no event is missing."""
    count = 40
    beats = crowd(lab, count)
    pages = [word for router in ["r0", "r1"] for word in ("--admin", f"https://{router}.{DOMAIN}:7402")]
    pages += lab.operator()
    lab.millrace("c1", "ctl", *pages, "rebalance", "--within", "4s")
    # A client that moves is at both for a moment.
    until(5, "halves", lambda: even(lab, count))
    before = shares(lab)
    for _ in range(20):
        check(shares(lab) == before, f"nobody moves again: {before}, {shares(lab)}")
        time.sleep(0.2)
    check("nobody moves" in lab.millrace("c1", "ctl", *pages, "rebalance"), "a second call moves nobody")
    beats.all_have_everything()
    return f"{before} of {count}"


@long
def rebalance_auto(lab):
    """mesh.rebalance, by reload: off moves nobody; auto makes halves of 100 % and 0 %, without a gap or a second swing."""
    file, count = lab.out / "router.toml", 40

    def switch(to):
        file.write_text(lab.configuration(rebalance=to))
        for router in ["r0", "r1"]:
            lab.signal(router, signal.SIGHUP)
            until(10, f"{router} is {to}", lambda: lab.ask(router, "/status")["rebalance"] == to)

    file.write_text(lab.configuration(rebalance="off"))
    beats = crowd(lab, count)
    time.sleep(25)
    check(shares(lab) == (count, 0), f"off: nobody moves: {shares(lab)}")
    switch("auto")
    began = time.monotonic()
    until(60, "some move", lambda: lab.clients("r1") >= 3)
    switch("off")
    # Who was asked before goes yet.
    time.sleep(3)
    held = shares(lab)
    time.sleep(5)
    check(shares(lab) == held, f"off: nobody else moves: {held}, {shares(lab)}")
    switch("auto")
    until(240, "halves", lambda: even(lab, count))
    took, settled = time.monotonic() - began, shares(lab)
    for _ in range(40):
        check(even(lab, count), f"no second swing: {settled}, {shares(lab)}")
        time.sleep(0.5)
    beats.all_have_everything()
    return f"{settled} of {count} after {took:.0f} s, with a rest in between"


@long
def share_of_a_new_router(lab):
    """A router that appears beside two has nine tenths of its share within 60 s, and nobody misses an event."""
    count = 80
    lab.name(["r0", "r1"])
    lab.start_cluster(["r0", "r1"])
    more = [f"beats {number}" for number in range(count // 2)]
    lab.subscribe_all("c1", more, *lab.reach("r1"), "beat")
    beats = Beats(lab, ["r0"], ["r0"], [f"more beats {number}" for number in range(1, count // 2)])
    beats.receivers += more
    check(shares(lab) == (count // 2, count // 2), f"even: {shares(lab)}")
    lab.start_router("r2")
    lab.name(ROUTERS)
    _, took = until(60, "the new router has its share", lambda: lab.clients("r2") >= 0.9 * count / 3)
    beats.all_have_everything()
    return f"{lab.clients('r2')} of {count} after {took:.0f} s"


@scenario
def nearest(lab):
    """A client without a zone moves from a far router to the nearest one, and misses nothing."""
    lab.name(["r0", "r1"])
    lab.start("c1", "way", sys.executable, HERE / "delay.py", address("c1"), address("r1"), 20)
    lab.start_router("r0")
    lab.start_router("r1", known_as="far")
    lab.linked(["r0", "r1"])
    beats = Beats(lab, publish=["r0"], subscribe=["far"])
    _, took = until(30, "the receiver has moved", lambda: lab.clients("r0") == 2 and lab.clients("r1") == 0)
    check("which is nearer" in lab.log("beats"), f"it says why: {lab.log('beats')}")
    here = time.time()
    until(10, "beats go on", lambda: len(beats.since(here)) > 50)
    check(beats.missing() == 0 and not beats.gaps(), f"{beats.missing()} beats are missing: {beats.gaps()}")
    check(lab.clients("r0") == 2, "it stays")
    return f"round trip of 40 ms left after {took:.1f} s"


@scenario
def router_killed(lab):
    """A router is killed under load; its receivers get events again within 2 s."""
    lab.start_cluster()
    beats = Beats(lab, publish=["r0"], subscribe=["r1", "r2"])
    victim = max(["r1", "r2"], key=lab.clients)
    with lab.load(routers=["r0"]):
        time.sleep(2)
        died = time.time()
        lab.end(victim, signal.SIGKILL)
        _, took = until(10, "beats arrive again", lambda: beats.since(died + 0.1))
    check(took < 2, f"beats arrive again within 2 s, not {took:.1f} s")
    return f"beats again after {took:.2f} s"


@scenario
def router_added(lab):
    """A router that appears in DNS is linked, and gets clients that come later."""
    lab.name(["r0", "r1"])
    lab.start_cluster(["r0", "r1"])
    with lab.load(routers=["r0", "r1"]):
        lab.start_router("r2")
        took = lab.linked(ROUTERS)
        lab.name(ROUTERS)
    lab.subscribe("c0", "sub", *lab.reach("r2"), "--count", "1", "n")
    lab.millrace("c1", "pub", *lab.reach("r0"), "--tag", "n=1", "hello")
    check(lab.running.pop("sub").wait(10) == 0, "the receiver on the new router gets an event")
    return f"linked after {took:.1f} s"


@scenario
def cut_off(lab):
    """A host is cut off and comes back; the mesh is whole within 5 s, and nothing is said lost that was not."""
    lab.start_cluster()
    with lab.load(routers=["r0", "r1"]):
        time.sleep(1)
        lab.cut_off("r2")
        until(5, "r2 is suspect", lambda: not lab.has_links("r0", ROUTERS))
        time.sleep(4)
        lab.cut_off("r2", False)
        took = lab.linked(ROUTERS, 5)
    return f"whole again after {took:.1f} s"


@scenario
def cut_one_way(lab):
    """One direction between two routers fails; both notice, and are linked again soon after it works."""
    lab.start_cluster()
    lab.cut_one_way("r0", "r1")
    for router in ["r0", "r1"]:
        until(8, f"{router} notices", lambda: not lab.has_links(router, ["r0", "r1"]))
    check(lab.is_ready("r0") and lab.is_ready("r1"), "both stay ready")
    lab.cut_one_way("r0", "r1", False)
    took = lab.linked(ROUTERS, 5)
    with lab.load(seconds=4):
        pass
    return f"whole again after {took:.1f} s"


@scenario
def names_change(lab):
    """Twenty changes of DNS answers under load disturb nobody."""
    lab.start_cluster()
    with lab.load(seconds=7):
        for turn in range(20):
            lab.name([router for place, router in enumerate(ROUTERS) if place != turn % 3])
            time.sleep(0.3)
        lab.name(ROUTERS)
    lab.linked(ROUTERS, 1)


@scenario
def rolling_restart(lab):
    """Routers are restarted one by one; beats come once, in order, none is missing, and no gap is shown."""
    lab.start_cluster()
    beats = Beats(lab)
    for router in ROUTERS:
        check(lab.end(router, seconds=12) == 0, f"{router} ends in order")
        lab.start_router(router)
        lab.linked(ROUTERS)
        time.sleep(1)
    ended = time.time()
    until(5, "beats arrive", lambda: beats.since(ended))
    check(beats.missing() == 0, f"no beat is missing: {beats.missing()} are")
    check(not beats.gaps(), f"no gap is shown: {beats.gaps()}")
    times = [at for _, at in beats.all()]
    longest = max(later - sooner for sooner, later in zip(times, times[1:]))
    return f"{len(times)} beats, at most {longest:.2f} s apart"


@long
def first_wire(lab):
    """A router of the first wire beside new ones: one mesh, all events, and an upgrade under load."""
    first = lab.first_programs()
    lab.start_router("r1", first=first)
    lab.start_cluster(["r0", "r2"])
    lab.linked(ROUTERS)
    for router, other in [("r0", "r2"), ("r2", "r0")]:
        spoken = {peer["name"]: peer["features"] for peer in lab.peers(router)}
        check(not spoken["r1"], f"{router} uses no feature with r1, which lists none: {spoken}")
        check(spoken[other], f"new routers use what both list: {spoken}")
    for router in ROUTERS:
        lab.subscribe("c0", f"at {router}", *lab.reach(router), "--count", "3", "n")
    for place, router in enumerate(ROUTERS):
        # Of a level, it would end as partial (cannot_acknowledge): the old router lists no confirms.
        lab.millrace("c1", "pub", "--confirm", "none", *lab.reach(router), "--tag", f"n={place}", "hello")
    for router in ROUTERS:
        check(lab.running.pop(f"at {router}").wait(10) == 0, f"the receiver at {router} ends in order")
        tags = sorted(event["tags"]["n"] for event in lab.received(f"at {router}") if "tags" in event)
        check(tags == ["0", "1", "2"], f"one event of each router at {router}: {tags}")
    with lab.load(routers=ROUTERS):
        pass
    beats = Beats(lab, publish=["r1", "r0"], subscribe=["r1", "r2"])
    check(lab.end("r1", seconds=12) == 0, "the old router ends in order")
    lab.start_router("r1")
    lab.linked(ROUTERS)
    upgraded = time.time()
    until(10, "beats go on", lambda: len(beats.since(upgraded)) > 50)
    missing = beats.missing()
    with lab.load(routers=ROUTERS):
        pass
    return f"{missing} beats behind {len(beats.gaps())} gaps at the upgrade"


@scenario
def certificates(lab):
    """Certificates are replaced and reloaded without closing a connection."""
    lab.start_cluster()
    with lab.load(seconds=6):
        lab.renew_certificate()
        for router in ROUTERS:
            lab.signal(router, signal.SIGHUP)
            until(5, f"{router} has reloaded", lambda: "reload" in lab.log(router))
    lab.linked(ROUTERS, 1)
    lab.millrace("c0", "pub", *lab.reach("r0"), "--tag", "n=1", "hello")


@scenario
def settings(lab):
    """A changed configuration is reloaded under load, and a wrong one changes nothing."""
    lab.start_cluster()
    file = lab.out / "router.toml"
    with lab.load(seconds=6):
        file.write_text(lab.configuration(log="debug"))
        lab.signal("r0", signal.SIGHUP)
        until(5, "r0 logs more", lambda: "DEBUG" in lab.log("r0"))
        file.write_text(lab.configuration().replace("count = 2", 'count = "two"'))
        lab.signal("r1", signal.SIGHUP)
        until(5, "r1 says what is wrong", lambda: "two" in lab.log("r1"))
    check(lab.is_ready("r0") and lab.is_ready("r1"), "both are ready")
    file.write_text(lab.configuration())



@scenario
def every_alert(lab):
    """Each alert rule fires on a real Prometheus when what it is about happens to real routers."""
    return alerts.every_alert(lab)
