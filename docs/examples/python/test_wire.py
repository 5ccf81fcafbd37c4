"""The example's encoders and decoders against the golden vectors. Run: python3 -m unittest (standard library only)."""

import pathlib
import unittest

import wire

GOLDEN = {}
for line in (pathlib.Path(__file__).parents[3] / "proto/tests/golden/frames.txt").read_text().splitlines():
    name, _, digits = line.partition(": ")
    GOLDEN[name] = bytes.fromhex(digits)

TAGS = {"rack": "r7", "host": "web-1"}
PUBLISHER, EPOCH = bytes.fromhex("00112233445566778899aabbccddeeff"), 0x0123456789ABCDEF
TIME = 1_700_000_000_000_000_000


class Golden(unittest.TestCase):
    def test_what_a_client_says_first(self):
        self.assertEqual(wire.hello((100, 20_000, 10), "demo/1", 2), GOLDEN["control hello"])
        patient = wire.hello((16_384, 2_097_152, 4_096), received_within_us=8_000_000)
        self.assertEqual(patient, GOLDEN["control hello_patient"])

    def test_what_a_publisher_writes(self):
        canonical = wire.tag_set(TAGS)
        self.assertEqual(wire.frame(wire.PUBLISH_PREAMBLE), GOLDEN["preamble publish"])
        self.assertEqual(wire.define_tags(0, canonical), GOLDEN["data define_tags"])
        self.assertEqual(wire.define_publisher(0, PUBLISHER, EPOCH), GOLDEN["data define_publisher"])
        self.assertEqual(wire.frame(wire.REPORT), GOLDEN["data report"])
        events = [(TIME, b"up"), (TIME + 1000, b"down")]
        golden = bytearray(GOLDEN["data run"])
        self.assertEqual(golden[7], 2, "the floor distance, which this client does not use")
        golden[7] = 0
        self.assertEqual(wire.run(0, 0, 42, events), golden)

    def test_what_a_receiver_reads(self):
        tables = wire.Tables(8, 1000, 8)
        for name in ("data define_tags", "data define_publisher", "data run", "data run_inline"):
            ((kind, body),) = wire.FrameReader(4096).feed(GOLDEN[name])
            if kind == wire.DEFINE_TAGS:
                tables.define_tags(body)
            elif kind == wire.DEFINE_PUBLISHER:
                tables.define_publisher(body)
            else:
                up, down = tables.run(body)
                self.assertEqual((up["seq"], down["seq"]), (42, 43))
                self.assertEqual((up["time_ns"], down["time_ns"]), (TIME, TIME + 1000))
                self.assertEqual((up["payload"], down["payload"]), (b"up", b"down"))
                self.assertEqual((up["tags"], up["publisher"], up["epoch"]), (TAGS, PUBLISHER.hex(), EPOCH))
                self.assertEqual(up["subscriptions"], [0, 5, 1023] if "inline" in name else [0])

    def test_streams_cut_anywhere(self):
        stream = b"".join(GOLDEN.values())
        whole = list(wire.FrameReader(4096).feed(stream))
        self.assertEqual(len(whole), len(GOLDEN))
        for step in (1, 2, 3, 7, 64):
            reader, frames = wire.FrameReader(4096), []
            for at in range(0, len(stream), step):
                frames.extend(reader.feed(stream[at : at + step]))
            self.assertEqual(frames, whole)

    def test_bounds(self):
        with self.assertRaises(wire.Malformed):
            list(wire.FrameReader(10).feed(GOLDEN["data run"]))
        with self.assertRaises(wire.Malformed):
            wire.skip_unknown(0x7E)
        wire.skip_unknown(0x7F)


if __name__ == "__main__":
    unittest.main()
