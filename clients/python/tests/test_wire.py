"""The bytes against the golden vectors of the protocol, and against streams that are cut
anywhere.
"""

from __future__ import annotations

import random
import unittest

from millrace._session.acks import Acks, Part, Receipt
from millrace._session.publishing import publisher_id
from millrace._wire import control, numbers, ranges, runs, tags
from millrace._wire.codec import FrameReader, Malformed, field, frame, integer, skip_unknown

from .routers import ROOT

GOLDEN: dict[str, bytes] = {}
for _line in (ROOT / "proto/tests/golden/frames.txt").read_text().splitlines():
    _name, _, _digits = _line.partition(": ")
    GOLDEN[_name] = bytes.fromhex(_digits)

PUBLISHER, EPOCH = bytes.fromhex("00112233445566778899aabbccddeeff"), 0x0123456789ABCDEF
TIME_NS = 1_700_000_000_000_000_000
SOURCE = control.Source(0x0123456789ABCDEF, 1, 2)


def golden(name: str) -> tuple[int, bytes]:
    """Type and body of a golden frame."""
    ((kind, body, size),) = FrameReader(4_096).feed(GOLDEN[name])
    assert size == len(GOLDEN[name])
    return kind, body


class Writing(unittest.TestCase):
    def test_what_a_publisher_writes(self) -> None:
        canonical = tags.canonical_of({"rack": "r7", "host": "web-1"})
        events = [(TIME_NS, b"up"), (TIME_NS + 1_000, b"down")]
        self.assertEqual(runs.preamble(), GOLDEN["preamble publish"])
        self.assertEqual(runs.define_tags(0, canonical), GOLDEN["data define_tags"])
        self.assertEqual(
            runs.define_publisher(0, PUBLISHER, EPOCH), GOLDEN["data define_publisher"]
        )
        self.assertEqual(runs.encode(0, 0, 42, 40, events), GOLDEN["data run"])

    def test_what_a_receiver_writes(self) -> None:
        member = control.Membership("disks", 2, 16, True)
        self.assertEqual(
            control.open_receiver(3, 0, 0, 0, 65_536, member), GOLDEN["control open_member"]
        )
        opened = control.open_receiver(3, 1, 1_048_576, 100_000, 65_536, None)
        self.assertEqual(opened, GOLDEN["control open_receiver"])
        selectors = ["host=web-*", "payload ~ /RAID/"]
        self.assertEqual(control.subscribe(3, 5, selectors, 0, []), GOLDEN["control subscribe"])
        self.assertEqual(control.grant(3, 131_072), GOLDEN["control grant"])
        self.assertEqual(control.close_receiver(3), GOLDEN["control close_receiver"])
        self.assertEqual(control.ack(3, 1, [(3, 6), (10, 11)], [(9, 1)]), GOLDEN["control ack"])
        source = control.Source(0x0123456789ABCDEF, 1, 2)
        since = control.subscribe(3, 5, ["*"], 300_000_000, [(source, 300)])
        self.assertEqual(since, GOLDEN["control subscribe_since"])

    def test_publisher_ids_follow_from_the_secret(self) -> None:
        secret = bytes(range(32))
        self.assertEqual(publisher_id(secret, "").hex(), "a9d6e500293a88bd38cbe213d07ab71f")
        self.assertEqual(publisher_id(secret, "web", 3).hex(), "3a557188b882110784df7d71400c77d4")

    def test_tags_that_are_none_are_refused_with_a_hint(self) -> None:
        for wrong in ({"": "x"}, {"a b": "x"}, {"k" * 129: "x"}, {"k": "x" * 1_025}, {"k": "a\nb"}):
            with self.assertRaisesRegex(ValueError, "tag"):
                tags.canonical_of(wrong)
        with self.assertRaisesRegex(ValueError, "payload"):
            tags.canonical_of({f"k{number}": "" for number in range(33)})


class Reading(unittest.TestCase):
    def test_control_frames(self) -> None:
        welcome = control.decode(*golden("control welcome"))
        assert isinstance(welcome, control.Welcome)
        self.assertEqual(
            (welcome.version, welcome.alternates, welcome.receivers_max),
            (1, ("a:7400", "b:7400"), 64),
        )
        self.assertEqual((welcome.tables.tag_sets, welcome.silence), (16_384, 1.5))
        self.assertEqual(control.decode(*golden("control credit")), control.Credit(1_048_576))
        self.assertEqual(control.decode(*golden("control received")), control.Received(0, 44))
        refused = control.decode(*golden("control refused"))
        self.assertEqual(refused, control.Refused("selector", 3, "column 4: no", subscription=0))
        outcome = control.decode(*golden("control outcome"))
        assert isinstance(outcome, control.Outcome)
        self.assertEqual((outcome.kind, outcome.seqs), ("partial", ((3, 6), (10, 11))))
        self.assertEqual(
            (outcome.receivers, outcome.missed, outcome.reasons), (2, 1, ("overflow",))
        )
        goaway = control.decode(*golden("control goaway"))
        self.assertEqual(goaway, control.Goaway(0.25, ("a:7400", "b:7400"), "restart", ()))
        closed = control.decode(*golden("control receiver_closed"))
        self.assertEqual(closed, control.ReceiverClosed(3, "overflow"))

    def test_runs(self) -> None:
        tables = runs.Tables()
        tables.define_tags(golden("data define_tags")[1])
        tables.define_publisher(golden("data define_publisher")[1])
        run = tables.run(golden("data run")[1])
        self.assertEqual(
            (run.tags, run.publisher, run.epoch),
            ({"host": "web-1", "rack": "r7"}, PUBLISHER, EPOCH),
        )
        self.assertEqual((run.first_seq, run.floor, run.level), (42, 40, 0))
        self.assertEqual(run.events, ((TIME_NS, b"up"), (TIME_NS + 1_000, b"down")))
        inline = tables.run(golden("data run_inline")[1])
        self.assertEqual(
            (inline.tags, inline.publisher, inline.events), (run.tags, PUBLISHER, run.events)
        )
        self.assertTrue(inline.is_resent and inline.maybe_duplicate)
        tables.define_source(golden("data define_source")[1])
        self.assertEqual(tables.run(golden("data run")[1]).source, None)
        gap = runs.gap(golden("data gap")[1])
        self.assertEqual(gap, runs.Gap("router_lost", 1_000, 0x0123456789ABCDEF))
        replay = runs.replay(golden("data replay")[1])
        self.assertEqual((replay.first, replay.end, replay.joined), (300, 900, False))

    def test_a_stream_may_be_cut_anywhere(self) -> None:
        stream = b"".join(GOLDEN.values())
        whole = list(FrameReader(4_096).feed(stream))
        self.assertEqual(sum(size for _, _, size in whole), len(stream))
        for step in (1, 2, 3, 7, 64):
            reader = FrameReader(4_096)
            cut = [
                found
                for at in range(0, len(stream), step)
                for found in reader.feed(stream[at : at + step])
            ]
            self.assertEqual(cut, whole)

    def test_what_no_router_sends_is_malformed(self) -> None:
        for body in (b"", b"\x00", GOLDEN["data run"][2:-1], GOLDEN["data run"][2:] + b"x"):
            with self.assertRaises(Malformed):
                runs.Tables().run(body)
        with self.assertRaises(Malformed):
            list(FrameReader(10).feed(GOLDEN["data run"]))
        with self.assertRaises(Malformed):
            skip_unknown(0x7E)
        self.assertIsNone(control.decode(0x7F, b""))
        with self.assertRaises(Malformed):
            runs.Tables(control.Capacity(tag_sets=0)).define_tags(golden("data define_tags")[1])

    def test_what_a_later_router_says_is_passed_over(self) -> None:
        for body in (b"", b"\x01", b"no fields", bytes(range(256))):
            for kind in (0x1B, 0x21, 0x89, 0x4001):
                self.assertIsNone(control.decode(kind, body), f"{kind:#x}: odd frames are skipped")
            for kind in (0x20, 0x44, 0x4000):
                with self.assertRaises(Malformed) as caught:
                    control.decode(kind, body)
                self.assertEqual(caught.exception.code, 0x04)
        later = field(200, b"whatever") + field(1, 200) + field(4, "why")
        refused = control.decode(numbers.REFUSED, later)
        self.assertEqual(refused, control.Refused("other", 0, "why"))
        outcome = control.decode(numbers.OUTCOME, field(2, 77) + field(6, 99))
        self.assertEqual(outcome, control.Outcome(0, "partial", (), 0, 0, ("other",)))
        self.assertEqual(runs.gap(field(1, 99) + field(9, b"")), runs.Gap("other", 0, None))

    def test_bytes_at_random_are_read_or_malformed(self) -> None:
        draw = random.Random(1)
        bodies = [body for name, body in ((name, golden(name)[1]) for name in GOLDEN)]
        for _ in range(5_000):
            body = bytearray(draw.choice(bodies))
            for _ in range(draw.randrange(1, 4)):
                if body:
                    body[draw.randrange(len(body))] = draw.randrange(256)
            tables = runs.Tables()
            readers = (
                tables.run,
                tables.define_tags,
                tables.define_source,
                tables.cursor,
                runs.gap,
                runs.replay,
            )
            for read in readers:
                try:
                    read(bytes(body))
                except Malformed:
                    pass
            for kind in (
                numbers.WELCOME,
                numbers.OUTCOME,
                numbers.SUBSCRIBED,
                numbers.REFUSED,
                numbers.GOAWAY,
            ):
                try:
                    control.decode(kind, bytes(body))
                except Malformed:
                    pass


class Ranges(unittest.TestCase):
    def test_a_set_of_ranges_agrees_with_a_set_of_numbers(self) -> None:
        for seed in range(100):
            draw = random.Random(seed)
            seqs, naive = ranges.SeqSet(), set[int]()
            for _ in range(40):
                first = draw.randrange(200)
                end = first + draw.randrange(20)
                low, high = draw.randrange(220), draw.randrange(220)
                missing = [
                    seq for start, stop in seqs.missing(low, high) for seq in range(start, stop)
                ]
                self.assertEqual(
                    missing, [seq for seq in range(low, high) if seq not in naive], f"seed {seed}"
                )
                seqs.insert(first, end)
                naive.update(range(first, end))
                self.assertEqual(seqs.end, max(naive, default=-1) + 1)
                spans = seqs.ranges()
                self.assertTrue(
                    all(one[1] < two[0] for one, two in zip(spans, spans[1:])), f"seed {seed}"
                )
                self.assertEqual(ranges.decode(ranges.encode(spans)), spans)

    def test_acknowledgements_are_told_once_and_by_kind(self) -> None:
        acks = Acks()
        done = [acks.take(Part(Receipt(1, number, None, 1))) for number in (5, 3, 4, 9)]
        two = Receipt(1, 7, None, 2)
        one_of_two = Part(two)
        self.assertEqual((done, acks.take(one_of_two)), ([True] * 4, False))
        self.assertFalse(acks.take(one_of_two), "the other one is not done by that")
        acks.take(Part(Receipt(1, 8, (2, 1), 1)))
        self.assertEqual((acks.refuse(two), acks.refuse(two)), (True, False))
        self.assertFalse(acks.take(Part(two)), "the run was given back")
        self.assertEqual(
            acks.frames(3),
            [
                control.ack(3, 1, [(3, 6), (9, 10)]),
                control.ack(3, 2, [(7, 8)]),
                control.ack(3, 1, tickets=[(2, 1)]),
            ],
        )
        self.assertEqual(acks.frames(3), [])


class Integers(unittest.TestCase):
    def test_examples_of_the_page(self) -> None:
        self.assertEqual([integer(n).hex() for n in (37, 300, 15_293)], ["25", "412c", "7bbd"])
        self.assertEqual(frame(0x24, bytes.fromhex("0102412c")), GOLDEN["control ping"])
        with self.assertRaises(ValueError):
            integer(1 << 62)
