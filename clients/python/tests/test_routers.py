"""The library against real routers, and against the `millrace` command."""

from __future__ import annotations

import asyncio
import json
import os
import unittest
import unittest.mock
from collections.abc import Coroutine
from typing import Any

import millrace
from millrace import Event, Gap, Receiver

from .routers import WAIT_SECONDS, Folder

TAGS = {"host": "web-1", "service": "checkout"}


async def events(receiver: Receiver, count: int) -> list[Event]:
    """The next events; gaps are none."""
    got: list[Event] = []
    async for item in receiver:
        if isinstance(item, Event):
            got.append(item)
        if len(got) == count:
            break
    return got


class RouterTest(unittest.TestCase):
    """A folder for routers, and a limit of time for what is asked of them."""

    def setUp(self) -> None:
        self.folder = Folder(self)
        # Clients in this process trust the authority that routers in dev mode leave there.
        here = unittest.mock.patch.dict(os.environ, self.folder.env, clear=True)
        here.start()
        self.addCleanup(here.stop)

    def run_within(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run(asyncio.wait_for(work, WAIT_SECONDS))


class Events(RouterTest):
    def test_events_come_with_tags_ids_and_times_and_outcomes_at_each_level(self) -> None:
        router = self.folder.router()

        async def work() -> None:
            async with (
                millrace.connect(router.address) as client,
                client.subscribe("host=web-*,service!=mail", "payload ~ /paid$/") as receiver,
            ):
                plain = await client.publish(TAGS, "none", level="none")
                routed = await client.publish(TAGS, b"routed")
                delivering = await client.send(
                    TAGS, "delivered", level="delivered", time_ns=1_700_000_000_000_000_000
                )
                unseen = await client.publish({"host": "db-1"}, "not for you")
                got = await events(receiver, 3)
                delivered = await delivering
                self.assertEqual([event.text for event in got], ["none", "routed", "delivered"])
                self.assertEqual([event.id for event in got], [plain.id, routed.id, delivered.id])
                self.assertEqual(
                    (dict(got[2].tags), got[2].time.isoformat()),
                    (TAGS, "2023-11-14T22:13:20+00:00"),
                )
                kinds = [
                    (outcome.kind, outcome.receivers)
                    for outcome in (plain, routed, delivered, unseen)
                ]
                self.assertEqual(
                    kinds, [("received", 0), ("confirmed", 1), ("confirmed", 1), ("confirmed", 0)]
                )
                nobody = await client.publish({"host": "db-1"}, "", min_receivers=1)
                self.assertEqual(
                    (nobody.kind, nobody.reasons, nobody.ok), ("dropped", ("few_receivers",), False)
                )

        self.run_within(work())

    def test_two_routers_the_command_and_more_events_than_a_buffer_holds(self) -> None:
        first = self.folder.router()
        second = self.folder.router("--seed", first.address)

        async def work() -> None:
            async with (
                millrace.connect(first.address) as near,
                millrace.connect(second.address, buffer_bytes=4_096) as far,
                near.subscribe("n") as receiver,
            ):
                payloads = [f"{number}" * 10 for number in range(5_000)]
                publishing = asyncio.create_task(far.publish_many({"n": "python"}, payloads))
                got = await events(receiver, len(payloads))
                self.assertEqual([event.text for event in got], payloads)
                self.assertEqual({outcome.kind for outcome in await publishing}, {"confirmed"})
                said = await asyncio.to_thread(
                    self.folder.millrace,
                    "pub",
                    "--router",
                    second.address,
                    "--tag",
                    "n=rust",
                    "--json",
                    "hello",
                )
                self.assertEqual(json.loads(said)["confirmed"], 1)
                self.assertEqual(
                    [(event.tags["n"], event.text) for event in await events(receiver, 1)],
                    [("rust", "hello")],
                )

        self.run_within(work())

    def test_large_events_and_many_tag_sets_pass(self) -> None:
        router = self.folder.router()

        async def work() -> None:
            async with (
                millrace.connect(router.address) as client,
                client.subscribe("*") as receiver,
            ):
                # The first one has the largest payload that there is.
                sizes = (1 << 20, 900_000, 900_000, 900_000)
                large = [bytes([number]) * size for number, size in enumerate(sizes)]
                publishing = asyncio.create_task(client.publish_many({}, large))
                self.assertEqual([event.payload for event in await events(receiver, 4)], large)
                await publishing
                sent = [
                    await client.send({"n": str(number)}, str(number)) for number in range(18_000)
                ]
                got = await events(receiver, len(sent))
                self.assertTrue(all(event.tags["n"] == event.text for event in got))
                # Across tag sets there is no order.
                self.assertEqual(sorted(event.id.seq for event in got), list(range(4, 18_004)))

        self.run_within(work())

    def test_selectors_can_be_replaced(self) -> None:
        router = self.folder.router()

        async def work() -> None:
            async with (
                millrace.connect(router.address) as client,
                client.subscribe("a") as receiver,
            ):
                await receiver.select("b")
                # What is ended is read by the router in its own time: soon nothing of it comes.
                while (await client.publish({"a": ""}, "old")).receivers:
                    await asyncio.sleep(0.01)
                await client.publish({"b": ""}, "new")
                while (await events(receiver, 1))[0].text != "new":
                    pass
                await receiver.close()
                self.assertIsNone(await receiver.next())

        self.run_within(work())


class Lost(RouterTest):
    def test_selectors_that_are_refused_leave_those_before(self) -> None:
        router = self.folder.router()

        async def work() -> None:
            async with (
                millrace.connect(router.address) as client,
                client.subscribe("n=1") as receiver,
            ):
                with self.assertRaises(millrace.Refused) as caught:
                    await receiver.select("n=2", "((")
                self.assertEqual(caught.exception.reason, "selector")
                await client.publish({"n": "1"}, "still here")
                self.assertEqual([event.text for event in await events(receiver, 1)], ["still here"])
                await receiver.select("n=1", "n=3")
                await client.publish({"n": "1"}, "both")
                await client.publish({"n": "3"}, "new")
                got = {event.text for event in await events(receiver, 2)}
                self.assertEqual(got, {"both", "new"})

        self.run_within(work())

    def test_what_both_select_is_never_missed(self) -> None:
        first = self.folder.router()
        second = self.folder.router("--seed", first.address)

        async def work() -> None:
            async with (
                millrace.connect(first.address) as near,
                millrace.connect(second.address) as far,
                near.subscribe("n") as receiver,
            ):
                payloads = [str(number) for number in range(3_000)]
                publishing = asyncio.create_task(far.publish_many({"n": "1"}, payloads))
                taking = asyncio.create_task(events(receiver, len(payloads)))
                for number in range(20):
                    await receiver.select("n", f"other={number}")
                self.assertEqual([event.text for event in await taking], payloads)
                self.assertEqual({outcome.kind for outcome in await publishing}, {"confirmed"})

        self.run_within(work())

    def test_a_killed_router_leaves_a_gap_and_no_event_without_an_outcome(self) -> None:
        router = self.folder.router()

        async def work() -> None:
            async with (
                millrace.connect(router.address) as client,
                client.subscribe("*") as receiver,
            ):
                await client.publish(TAGS, "before")
                router.kill()
                sent = [await client.send(TAGS, f"{number}") for number in range(100)]
                await asyncio.to_thread(self.folder.router, listen=router.address)
                self.assertEqual({(await outcome).kind for outcome in sent}, {"confirmed"})
                await receiver.ready()
                await client.publish(TAGS, "after")
                items = [item async for item in _until(receiver, "after")]
                self.assertIn(Gap("session_lost"), items)
                self.assertEqual(
                    [item.text for item in items if isinstance(item, Event)][0], "before"
                )

        self.run_within(work())

    def test_a_client_moves_to_an_alternate_when_its_router_ends(self) -> None:
        first = self.folder.router("--grace", "10s")
        second = self.folder.router("--seed", first.address)

        async def work() -> None:
            async with (
                millrace.connect(first.address) as client,
                millrace.connect(second.address) as other,
                client.subscribe("*") as receiver,
            ):
                first.terminate()
                while client.router != second.address:
                    await receiver.next()
                await receiver.ready()
                await other.publish(TAGS, "there")
                self.assertEqual([event.text for event in await events(receiver, 1)], ["there"])
                self.assertTrue((await client.publish(TAGS, "and back", min_receivers=1)).ok)

        self.run_within(work())

    def test_what_was_missed_is_filled_from_history_by_cursor(self) -> None:
        router = self.folder.router("--history-bytes", "16MiB")

        async def work() -> None:
            async with millrace.connect(router.address) as client:
                outcomes = await client.publish_many(TAGS, ["one", "two", "three"])
                self.assertTrue(all(outcome.ok for outcome in outcomes))
                async with client.subscribe("service", since=60) as receiver:
                    got = await events(receiver, 3)
                    self.assertEqual(
                        [(event.text, event.replayed) for event in got][2], ("three", True)
                    )
                    cursor = str(receiver.cursor)
                async with client.subscribe("service", last=True) as receiver:
                    (newest,) = await events(receiver, 1)
                    self.assertEqual((newest.text, newest.replayed), ("three", True))
                    await client.publish(TAGS, "four")
                    self.assertEqual([event.text for event in await events(receiver, 1)], ["four"])
                async with client.subscribe("service", cursor=cursor) as receiver:
                    self.assertEqual([event.text for event in await events(receiver, 1)], ["four"])
                    await client.publish(TAGS, "five")
                    live = await events(receiver, 1)
                    self.assertEqual(
                        [(event.text, event.replayed) for event in live], [("five", False)]
                    )

        self.run_within(work())

    def test_cut_connections_neither_lose_nor_repeat_an_event(self) -> None:
        router = self.folder.router("--history-bytes", "16MiB")
        total = 600

        async def publish(publishing: millrace.Client, receiving: millrace.Client) -> None:
            for number in range(total):
                outcome = await publishing.send({"n": str(number % 7)}, str(number))
                if number % 200 == 50:
                    _cut(publishing)
                if number % 200 == 150:
                    _cut(receiving)
                    # Some pass while nobody listens: history has them.
                    await outcome

        async def work() -> None:
            async with (
                millrace.connect(router.address) as publishing,
                millrace.connect(router.address) as receiving,
                receiving.subscribe("n", since=0) as receiver,
            ):
                work = asyncio.create_task(publish(publishing, receiving))
                got = await events(receiver, total)
                await work
                self.assertEqual(sorted(int(event.text) for event in got), list(range(total)))
                for tag in range(7):
                    seqs = [event.id.seq for event in got if event.tags["n"] == str(tag)]
                    self.assertEqual(seqs, sorted(seqs), "order holds within a tag set")
                self.assertIsNone(await receiver.next(timeout=0.2), "nothing comes twice")

        self.run_within(work())


def _cut(client: millrace.Client) -> None:
    """Ends a client's connection behind its back."""
    if client._session:
        client._session.close(0x09, "cut by a test")


class Groups(RouterTest):
    def test_each_event_goes_to_one_member_and_to_another_when_it_is_refused(self) -> None:
        router = self.folder.router()

        async def work() -> None:
            async with (
                millrace.connect(router.address) as one,
                millrace.connect(router.address) as two,
                one.subscribe("job", group="workers", acknowledge="explicit") as first,
                two.subscribe("job", group="workers", level=2, acknowledge="explicit") as second,
            ):
                delivering = await one.send({"job": "1"}, "paint", level="delivered")
                (event,) = await events(first, 1)
                first.busy(True)
                first.refuse(event)
                (again,) = await events(second, 1)
                self.assertEqual((again.id, again.maybe_duplicate), (event.id, True))
                second.acknowledge(again)
                self.assertEqual((await delivering).kind, "confirmed")

        self.run_within(work())

    def test_what_is_not_acknowledged_is_not_confirmed(self) -> None:
        router = self.folder.router()

        async def work() -> None:
            async with millrace.connect(router.address) as client:
                async with client.subscribe("*", acknowledge="explicit") as receiver:
                    delivering = await client.send(TAGS, "x", level="delivered")
                    await events(receiver, 1)
                outcome = await delivering
                self.assertEqual((outcome.kind, outcome.reasons), ("partial", ("departed",)))

        self.run_within(work())


class Refusals(RouterTest):
    def test_errors_say_what_to_do(self) -> None:
        router = self.folder.router()

        async def work() -> None:
            async with millrace.connect(router.address) as client:
                with self.assertRaisesRegex(millrace.Refused, "column"):
                    await client.subscribe("host in (").ready()
                with self.assertRaisesRegex(millrace.Refused, "--history-bytes"):
                    await client.subscribe("*", since=5).ready()
                with self.assertRaisesRegex(ValueError, "payload of 1048577 bytes"):
                    await client.publish(TAGS, bytes(1_048_577))
                with self.assertRaisesRegex(ValueError, "none, routed, delivered"):
                    await client.publish(TAGS, "", level="all")  # type: ignore[arg-type]
                receivers = [client.subscribe("*") for _ in range(64)]
                with self.assertRaisesRegex(ValueError, "connect another client"):
                    client.subscribe("*")
                await receivers[0].ready()
            with self.assertRaisesRegex(millrace.Closed, "connect again"):
                await client.publish(TAGS, "")

        self.run_within(work())

    def test_nobody_there(self) -> None:
        self.folder.router()

        async def work() -> None:
            with self.assertRaisesRegex(millrace.ConnectError, "127.0.0.1:9"):
                await millrace.connect("127.0.0.1:9", connect_timeout=0.2)

            with self.assertRaisesRegex(millrace.ConfigError, "cert= and key="):
                await millrace.connect(cert="only.pem")
            with self.assertRaisesRegex(millrace.ConfigError, "cannot read /nowhere"):
                await millrace.connect(ca="/nowhere")

        self.run_within(work())

    def test_certificates(self) -> None:
        folder = self.folder
        for made in (("init",), ("router", "one", "--san", "127.0.0.1"), ("client", "billing")):
            folder.millrace("certs", "--dir", str(folder.path / "pki"), *made)
        pki = folder.path / "pki"
        mine = [
            f"--{kind}={pki / name}"
            for kind, name in (("cert", "router-one.pem"), ("key", "router-one.key"))
        ]
        router = folder.router(
            *mine, f"--ca={pki / 'ca.pem'}", "--set", "tls.require_client_certificate=true"
        )
        folder.router()  # Leaves an authority that did not sign the first router's certificate.
        ca, cert, key = (
            str(pki / name) for name in ("ca.pem", "client-billing.pem", "client-billing.key")
        )

        async def work() -> None:
            async with millrace.connect(router.address, ca=ca, cert=cert, key=key) as client:
                self.assertTrue((await client.publish(TAGS, "x")).ok)
            with self.assertRaisesRegex(millrace.ConnectError, "ca= must be"):
                await millrace.connect(router.address, cert=cert, key=key)
            with self.assertRaisesRegex(millrace.ConnectError, "names"):
                await millrace.connect(
                    router.address, ca=ca, cert=cert, key=key, server_name="other.example"
                )
            with self.assertRaisesRegex(millrace.Disconnected, "show a certificate"):
                await millrace.connect(router.address, ca=ca)

        self.run_within(work())


class Rights(RouterTest):
    def test_a_token_says_who_somebody_is_and_the_router_what_that_one_may(self) -> None:
        folder = self.folder
        pki = folder.path / "pki"
        for made in (("init",), ("router", "one", "--san", "127.0.0.1")):
            folder.millrace("certs", "--dir", str(pki), *made)
        said = folder.millrace("certs", "--dir", str(pki), "token", "bob")
        tokens = folder.path / "tokens"
        tokens.write_text(next(line for line in said.splitlines() if line.startswith("  bob")))
        config = folder.path / "router.toml"
        config.write_text(
            f"""
            [tls]
            ca = "{pki}/ca.pem"
            cert = "{pki}/router-one.pem"
            key = "{pki}/router-one.key"
            tokens = "{tokens}"
            [[identity]]
            name = "bob"
            publish = ["service=web"]
            subscribe = ["service"]
            """
        )
        router = folder.router("--config", str(config))
        ca, token = str(pki / "ca.pem"), (pki / "client-bob.token").read_text()

        async def work() -> None:
            with self.assertRaisesRegex(millrace.Disconnected, "token"):
                await millrace.connect(router.address, ca=ca, token="a" * 40)
            async with (
                millrace.connect(router.address, ca=ca, token=token) as client,
                client.subscribe("*") as receiver,
            ):
                allowed = await client.publish({"service": "web"}, "mine")
                self.assertEqual((allowed.kind, allowed.receivers), ("confirmed", 1))
                refused = await client.publish({"service": "db"}, "not mine")
                self.assertEqual((refused.kind, refused.reasons), ("dropped", ("forbidden",)))
                self.assertEqual([event.text for event in await events(receiver, 1)], ["mine"])

        self.run_within(work())


async def _until(receiver: Receiver, text: str) -> Any:
    """The items of a receiver up to an event with this text."""
    async for item in receiver:
        yield item
        if isinstance(item, Event) and item.text == text:
            return
