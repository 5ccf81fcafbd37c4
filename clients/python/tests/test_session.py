"""What a client decides without a router: outcomes, what is sent again, what is a duplicate, where
to go.
"""

from __future__ import annotations

import random
import unittest

from millrace._session.attachment import Address, Attachment, is_nearer, parse_levels
from millrace._session.dedup import PUBLISHERS_MAX, RANGES_MAX, Dedup
from millrace._session.delivery import Delivery
from millrace._session.publishing import PublishStream, TagNumbers
from millrace._session.selection import Selection
from millrace._session.window import EVENTS_MAX, Window
from millrace._wire import numbers, runs
from millrace._wire.codec import FrameReader, Malformed, field, frame
from millrace._wire.control import Capacity, Source
from millrace._wire.control import Outcome as Said
from millrace.cursor import Cursor
from millrace.items import Outcome

TAGS = b"\x01\x01k\x01v"


class Publishing:
    """A window, its outcomes by seq, and the runs that a router would read."""

    def __init__(self, bytes_max: int = 1 << 20) -> None:
        self.window = Window(epoch=7, bytes_max=bytes_max)
        self.outcomes: dict[int, Outcome] = {}
        self.connect()

    def connect(self) -> None:
        self.stream = PublishStream(self.window, Capacity())
        self.reader = FrameReader(1 << 20)
        self.tables = runs.Tables()
        self.stream.credit(1 << 40)

    def publish(
        self, count: int, level: int = 1, min_receivers: int = 0, tags: bytes = TAGS
    ) -> None:
        def settle(outcome: Outcome) -> None:
            assert outcome.id.seq not in self.outcomes, "each event has one outcome"
            self.outcomes[outcome.id.seq] = outcome

        for _ in range(count):
            self.window.add(tags, 1, b"x", level, min_receivers, settle)

    def written(self) -> list[runs.Run]:
        found = []
        while data := self.stream.take():
            for kind, body, _ in self.reader.feed(data):
                match kind:
                    case numbers.RUN:
                        found.append(self.tables.run(body))
                    case numbers.DEFINE_TAGS:
                        self.tables.define_tags(body)
                    case numbers.DEFINE_PUBLISHER:
                        self.tables.define_publisher(body)
        return found

    def said(self, first: int, end: int, kind: str = "confirmed", receivers: int = 1) -> None:
        self.window.outcome(Said(0, kind, ((first, end),), receivers, 0, ()))


class Windows(unittest.TestCase):
    def test_neighbours_share_a_run_and_each_event_ends_once(self) -> None:
        publishing = Publishing()
        publishing.publish(3)
        publishing.publish(1, level=2)
        publishing.publish(1, level=2, tags=b"\x00")
        heads = [
            (run.first_seq, len(run.events), run.level, run.floor) for run in publishing.written()
        ]
        self.assertEqual(heads, [(0, 3, 1, 0), (3, 1, 2, 0), (4, 1, 2, 0)])
        publishing.window.received(5)
        self.assertEqual(publishing.outcomes, {}, "received is no outcome of an event with a level")
        publishing.said(1, 4)
        publishing.said(0, 5)
        self.assertEqual({outcome.kind for outcome in publishing.outcomes.values()}, {"confirmed"})
        self.assertEqual(len(publishing.outcomes), 5)
        self.assertTrue(publishing.window.is_empty)

    def test_what_has_no_outcome_is_sent_again_and_what_has_no_level_is_unknown(self) -> None:
        publishing = Publishing()
        publishing.publish(2)
        publishing.publish(1, level=0)
        publishing.publish(2)
        publishing.written()
        publishing.said(0, 1)
        publishing.publish(1)
        publishing.window.connection_lost()
        self.assertEqual(publishing.outcomes[2].kind, "unknown")
        publishing.connect()
        again = [
            (run.first_seq, len(run.events), run.is_resent, run.floor)
            for run in publishing.written()
        ]
        self.assertEqual(again, [(1, 1, True, 1), (3, 2, True, 1), (5, 1, False, 1)])

    def test_an_outcome_before_an_event_is_sent_again_ends_it_all_the_same(self) -> None:
        publishing = Publishing()
        publishing.publish(2)
        publishing.written()
        publishing.window.connection_lost()
        publishing.connect()
        publishing.said(0, 2)
        self.assertEqual(publishing.written(), [])
        self.assertEqual(set(publishing.outcomes), {0, 1})

    def test_received_settles_what_has_no_level(self) -> None:
        publishing = Publishing()
        publishing.publish(3, level=0)
        publishing.written()
        publishing.window.received(2)
        self.assertEqual(
            {seq: outcome.kind for seq, outcome in publishing.outcomes.items()},
            {0: "received", 1: "received"},
        )

    def test_at_a_router_that_does_not_confirm_outcomes_are_unknown(self) -> None:
        publishing = Publishing()
        publishing.window.can_confirm = False
        publishing.publish(1)
        self.assertEqual([run.level for run in publishing.written()], [0])
        publishing.window.received(1)
        publishing.said(0, 1)
        self.assertEqual(publishing.outcomes[0].kind, "unknown")

    def test_fewer_receivers_than_asked_for_are_no_confirmation(self) -> None:
        publishing = Publishing()
        publishing.publish(3, min_receivers=2)
        publishing.written()
        for seq, receivers in enumerate((2, 1, 0)):
            publishing.said(seq, seq + 1, receivers=receivers)
        told = [
            (publishing.outcomes[seq].kind, publishing.outcomes[seq].reasons) for seq in range(3)
        ]
        self.assertEqual(
            told,
            [("confirmed", ()), ("partial", ("few_receivers",)), ("dropped", ("few_receivers",))],
        )

    def test_the_window_is_bounded(self) -> None:
        publishing = Publishing(bytes_max=1 << 30)
        publishing.publish(EVENTS_MAX)
        self.assertFalse(publishing.window.has_room(1))
        publishing.written()
        publishing.said(1, 2)
        self.assertTrue(publishing.window.has_room(1))
        small = Publishing(bytes_max=10)
        self.assertTrue(small.window.has_room(1 << 20), "one event always fits")
        small.publish(1)
        self.assertFalse(small.window.has_room(1))

    def test_a_router_that_speaks_of_what_was_never_published_is_refused(self) -> None:
        publishing = Publishing()
        publishing.publish(1)
        with self.assertRaises(Malformed):
            publishing.said(0, 2)
        with self.assertRaises(Malformed):
            publishing.window.received(2)

    def test_every_event_ends_once_whatever_is_lost(self) -> None:
        for seed in range(200):
            draw = random.Random(seed)
            publishing, taken = Publishing(), 0
            for _ in range(30):
                count = draw.randrange(8)
                publishing.publish(count, level=draw.choice((1, 2)))
                taken += count
                if draw.random() < 0.2:
                    publishing.window.connection_lost()
                    publishing.connect()
                    again = {
                        run.first_seq + at
                        for run in publishing.written()
                        for at in range(len(run.events))
                    }
                    self.assertEqual(
                        again, set(range(taken)) - set(publishing.outcomes), f"seed {seed}"
                    )
                else:
                    publishing.written()
                if taken:
                    first = draw.randrange(taken)
                    publishing.said(first, draw.randrange(first, taken) + 1)
            publishing.written()
            if taken:
                publishing.said(0, taken)
            self.assertEqual(set(publishing.outcomes), set(range(taken)), f"seed {seed}")
            self.assertTrue(publishing.window.is_empty)


class Streams(unittest.TestCase):
    def test_nothing_is_written_past_the_credit(self) -> None:
        publishing = Publishing()
        publishing.stream = PublishStream(publishing.window, Capacity())
        publishing.publish(100)
        self.assertEqual(publishing.stream.take(), b"")
        written = 0
        for credit in (1, 40, 39, 300, 100_000):
            publishing.stream.credit(credit)
            while data := publishing.stream.take():
                written += len(data)
            self.assertLessEqual(written, credit if credit != 39 else 40)
        self.assertFalse(publishing.stream.take())

    def test_numbers_of_tag_sets_are_used_anew_within_the_routers_table(self) -> None:
        table = TagNumbers(Capacity(tag_sets=2, tag_bytes=20, publishers=1))
        self.assertEqual(table.number(b"a" * 8), (0, runs.define_tags(0, b"a" * 8)))
        self.assertEqual(table.number(b"b" * 8)[0], 1)
        self.assertEqual(table.number(b"a" * 8), (0, b""))
        self.assertEqual(
            table.number(b"c" * 8), (1, runs.define_tags(1, b"c" * 8)), "b was not used for longest"
        )
        self.assertEqual(table.number(b"d" * 15), (None, b""), "too large for the table: inline")
        self.assertEqual(TagNumbers(Capacity(0, 0, 0)).number(b"a"), (None, b""))

    def test_a_grant_rises_when_half_of_the_window_is_taken(self) -> None:
        delivery = Delivery(1_000, held=200)
        self.assertEqual(delivery.granted, 800)
        self.assertIsNone(delivery.consumed(299))
        self.assertIsNone(delivery.consumed(200))
        self.assertEqual(delivery.consumed(1), 1_300)
        with self.assertRaises(Malformed):
            list(delivery.feed(bytes(3 << 20)))

    def test_a_frame_that_is_larger_than_the_window_ends(self) -> None:
        delivery = Delivery(1_000)
        large = frame(numbers.GAP, field(1, 1) + field(9, bytes(5_000)))
        at, granted, items = 0, delivery.granted, 0
        while at < len(large):
            # The router stops where the grant ends, in the middle of the frame.
            piece = large[at : min(granted, len(large))]
            self.assertTrue(piece, f"nothing may be written behind {at}")
            at += len(piece)
            items += len(list(delivery.feed(piece)))
            granted = delivery.consumed(0) or granted
        self.assertEqual(items, 1)


def run(
    first: int, end: int, floor: int = 0, resent: bool = False, publisher: int = 1, level: int = 1
) -> runs.Run:
    events = tuple((0, b"") for _ in range(first, end))
    key = publisher.to_bytes(16, "big")
    return runs.Run({}, key, 1, first, floor, events, level, resent, resent, None, 0, None)


class Selections(unittest.TestCase):
    def test_what_is_replaced_goes_on_until_the_new_one_is_effective(self) -> None:
        selection = Selection(("a",))
        self.assertEqual((selection.is_heard, selection.is_effective), (False, False))
        self.assertEqual([selection.subscribed(0, stage) for stage in (1, 2, 9)], [[], [], []])
        self.assertEqual(selection.replace(("b",)), [])
        self.assertEqual((selection.number, selection.selectors), (1, ("b",)))
        self.assertEqual((selection.is_effective, selection.is_heard), (False, True))
        self.assertEqual(selection.subscribed(0, 2), [], "an answer of before")
        self.assertEqual(selection.subscribed(1, 1), [])
        self.assertEqual(selection.subscribed(1, 2), [0])

    def test_a_refusal_changes_nothing_where_something_was_effective(self) -> None:
        selection = Selection(("a",))
        self.assertEqual(selection.refused(0), False)
        selection.subscribed(0, 2)
        selection.replace(("wrong",))
        self.assertEqual(selection.replace(("(",)), [1], "nobody waits for that one any more")
        self.assertIsNone(selection.refused(1))
        self.assertEqual(selection.refused(2), True)
        self.assertEqual((selection.selectors, selection.is_effective), (("a",), True))
        selection.replace(("b",))
        self.assertEqual(selection.number, 3, "answers about 1 and 2 may still come")

    def test_one_that_brings_the_past_stands_alone(self) -> None:
        selection = Selection(("a",))
        selection.subscribed(0, 2)
        self.assertEqual(selection.replace(("b",), is_replayed=True), [0])
        self.assertEqual((selection.is_heard, selection.refused(1)), (False, False))

    def test_numbers_go_round_and_leave_out_the_one_that_is_effective(self) -> None:
        selection = Selection(("a",))
        selection.subscribed(0, 2)
        numbers_given = set()
        for _ in range(2_000):
            selection.replace(("b",))
            numbers_given.add(selection.number)
        self.assertEqual(numbers_given, set(range(1, 1_024)))
        selection.lost()
        self.assertEqual((selection.is_heard, selection.selectors), (False, ("b",)))


class Duplicates(unittest.TestCase):
    def test_what_comes_again_is_removed_and_the_rest_delivered(self) -> None:
        dedup = Dedup()
        self.assertEqual(dedup.take(run(4, 6, 4)), ([(4, 6)], False))
        self.assertEqual(dedup.take(run(8, 9, 4)), ([(8, 9)], False))
        self.assertEqual(dedup.take(run(5, 9, 4, resent=True)), ([(6, 8)], False))
        self.assertEqual(dedup.take(run(4, 9, 4, resent=True)), ([], False))
        self.assertEqual(dedup.take(run(4, 9, 4, resent=True, publisher=2)), ([(4, 9)], False))
        self.assertEqual(
            dedup.take(run(4, 5, level=0)),
            ([(4, 5)], False),
            "without a level nothing is sent again",
        )
        self.assertEqual(dedup.removed, 7)
        for fresh in ([(2, 4)], []):
            self.assertEqual(
                dedup.take(run(2, 4, level=0, resent=True, publisher=3)),
                (fresh, False),
                "events of another cluster may come on two ways",
            )

    def test_memory_is_bounded_and_what_is_forgotten_is_in_doubt(self) -> None:
        dedup = Dedup()
        for at in range(2 * RANGES_MAX):
            dedup.take(run(2 * at, 2 * at + 1))
        self.assertEqual(dedup.take(run(0, 1, resent=True)), ([(0, 1)], True))
        recent = 2 * (2 * RANGES_MAX - 1)
        self.assertEqual(dedup.take(run(recent, recent + 1, resent=True)), ([], False))
        for publisher in range(2, PUBLISHERS_MAX + 2):
            dedup.take(run(0, 1, publisher=publisher))
        self.assertEqual(
            dedup.take(run(recent, recent + 1, resent=True)), ([(recent, recent + 1)], True)
        )

    def test_nothing_fresh_is_removed(self) -> None:
        for seed in range(100):
            draw = random.Random(seed)
            dedup, had, floor = Dedup(), set[int](), 0
            for _ in range(60):
                floor += draw.randrange(3)
                first = floor + draw.randrange(100)
                end = first + draw.randrange(1, 20)
                parts, in_doubt = dedup.take(run(first, end, floor, resent=True))
                fresh = {seq for start, stop in parts for seq in range(start, stop)}
                self.assertEqual(fresh, set(range(first, end)) - had, f"seed {seed}")
                self.assertFalse(in_doubt)
                had |= fresh


class Places(unittest.TestCase):
    def test_addresses_read_as_people_write_them(self) -> None:
        good = {
            "a": "a:7400",
            "A.example:1": "a.example:1",
            "[::1]:7": "[::1]:7",
            "[::1]": "[::1]:7400",
        }
        self.assertEqual({text: str(Address.parse(text)) for text in good}, good)
        for wrong in ("", "a:0", "a:x", "::1", "a b", "a:70000", "http://a"):
            with self.assertRaisesRegex(ValueError, "HOST:PORT"):
                Address.parse(wrong)
        levels = parse_levels("near-1, near-2:1; far")
        self.assertEqual(
            [[str(one) for one in level] for level in levels],
            [["near-1:7400", "near-2:1"], ["far:7400"]],
        )

    def test_levels_are_tried_in_order_and_alternates_last(self) -> None:
        attachment = Attachment(parse_levels("a,b;c"), 5.0, random.Random(1))
        attachment.learn(["d:1", "not an address", "c:7400"])
        for _ in range(20):
            hosts = [address.host for address in attachment.round()]
            self.assertEqual((sorted(hosts[:2]), hosts[2:]), (["a", "b"], ["c", "d"]))
        self.assertEqual([one.host for one in attachment.better(Address("c"))], ["a", "b"])
        self.assertEqual(attachment.better(Address("a")), [])

    def test_routers_of_the_clients_zone_come_first_once_it_has_heard_of_them(self) -> None:
        attachment = Attachment(parse_levels("a;b"), 5.0, random.Random(1), zone="eu")
        attachment.learn(["c:1", "d:1", "e:1"], ["us", "eu"])
        self.assertEqual([one.host for one in attachment.home()], ["d"])
        hosts = [address.host for address in attachment.round()]
        self.assertEqual((hosts[:3], sorted(hosts[3:])), (["d", "a", "b"], ["c", "e"]))
        self.assertEqual(
            [attachment.is_abroad("us", ()), attachment.is_abroad("eu", ("us",))], [True, False]
        )
        self.assertFalse(attachment.is_abroad("", ("", "")), "routers without zones")
        self.assertFalse(Attachment(parse_levels("a"), 5.0).is_abroad("us", ("eu",)))

    def test_nearer_is_half_as_far_and_two_milliseconds(self) -> None:
        for other, present, nearer in [
            (0, 20, True),
            (0, 19, False),
            (20, 40, True),
            (21, 40, False),
            (400, 800, True),
            (40, 20, False),
        ]:
            self.assertEqual(is_nearer(other / 1e4, present / 1e4), nearer, (other, present))
        attachment = Attachment(parse_levels("a,b;c"), 5.0)
        attachment.learn(["c:7400", "d:1"])
        self.assertEqual(sorted(one.host for one in attachment.candidates()), ["a", "b", "d"])
        self.assertTrue(attachment.is_first(Address("a")))
        self.assertFalse(attachment.is_first(Address("c")))

    def test_pauses_grow_at_random_up_to_their_bound(self) -> None:
        attachment = Attachment(parse_levels("a"), 1.0, random.Random(1))
        pauses = [attachment.pause() for _ in range(50)]
        self.assertTrue(all(pause <= min(0.05 * 2**at, 1.0) for at, pause in enumerate(pauses)))
        self.assertGreater(max(pauses), 0.5)
        attachment.settled()
        self.assertLessEqual(attachment.pause(), 0.05)


class Cursors(unittest.TestCase):
    def test_text_goes_both_ways(self) -> None:
        text = "millrace-cursor 1\n0000000000000001 0000000000000002 0 300\n"
        cursor = Cursor.parse(text)
        self.assertEqual(str(cursor), text)
        for wrong in ("", "millrace-cursor 2\n", "millrace-cursor 1\nx\n"):
            with self.assertRaisesRegex(ValueError, "cursor"):
                Cursor.parse(wrong)

    def test_a_routers_new_life_ends_the_old_one(self) -> None:
        cursor = Cursor()
        cursor.pass_(Source(1, 1, 0), 5)
        cursor.pass_(Source(1, 1, 0), 3)
        cursor.pass_(Source(2, 1, 0), 9)
        self.assertEqual(dict(cursor.positions())[Source(1, 1, 0)], 5, "positions only rise")
        cursor.pass_(Source(1, 2, 0), 1)
        self.assertEqual(dict(cursor.positions()), {Source(2, 1, 0): 9, Source(1, 2, 0): 1})
