"""The Autobahn test suite's fuzzing client against a gateway's WebSocket: python2.7 tests/suites/autobahn-client.py ADDRESS:PORT REPORTS [CASE...]

The suite wants a server that sends back what it gets; the door speaks millrace.v1. So each message that a case sends is wrapped, on its
way into the first and the last frame, into one that publishes it to this connection, and what a case is given is the payload of the
event that comes back. Frames, fragments, chops, control frames, what is reserved and what is wrong are the suite's own, and so is every
verdict. A binary message is one whose payload is in base64. Cases (default: all) that tests/suites/autobahn.txt leaves out are not run.
Exit code 1 when a case fails. The suite needs Python 2.7; this file, too.
"""

import base64
import json
import os
import site
import sys

# Where the suite is. Not PYTHONPATH, because zope is a package of several parts, which only a folder of packages brings together.
site.addsitedir(os.environ["SUITE"])

from autobahntestsuite import fuzzing
from autobahntestsuite.fuzzing import FuzzingClientFactory, FuzzingClientProtocol
from twisted.internet import reactor

TEXT, BINARY = 1, 2
# What of a text cannot stand in a JSON string as it is. Bytes that are no UTF-8 stay what they are.
ESCAPED = dict((chr(code), "\\u%04x" % code) for code in list(range(32)) + [ord('"'), ord("\\")])


class Wrapping(FuzzingClientProtocol):
    """A connection of the suite that is subscribed to what it publishes itself."""

    number = 0

    def connectionMade(self):
        Wrapping.number += 1
        self.own = "autobahn-%d-%d" % (os.getpid(), Wrapping.number)
        self.is_subscribed = False
        self.kind = None  # of the message that the case is in the middle of
        self.left = b""  # of a binary one: bytes that are no group of base64 yet
        self.frame_left = 0
        FuzzingClientProtocol.connectionMade(self)

    def onOpen(self):
        frame = {"op": "subscribe", "sub": "s", "select": ["door=" + self.own]}
        FuzzingClientProtocol.sendFrame(self, opcode=TEXT, payload=json.dumps(frame))

    def onMessage(self, payload, binary):
        for line in payload.split("\n"):
            if not line:
                continue
            told = json.loads(line)
            if not self.is_subscribed and told["op"] == "subscribed":
                self.is_subscribed = True
                # Cases that count frames count their own.
                self.rxOctetStats, self.rxFrameStats, self.txOctetStats, self.txFrameStats = {}, {}, {}, {}
                FuzzingClientProtocol.onOpen(self)
            elif told["op"] == "event":
                is_binary = told["tags"]["kind"] == "binary"
                if "payload_base64" in told:
                    content = base64.b64decode(told["payload_base64"])
                else:
                    content = told["payload"].encode("utf-8")
                FuzzingClientProtocol.onMessage(self, content, is_binary)
            else:
                FuzzingClientProtocol.onMessage(self, line, binary)

    def begin(self, kind):
        self.kind, self.left = kind, b""
        name, payload = ("text", "payload") if kind == TEXT else ("binary", "payload_base64")
        return '{"op":"publish","tags":{"door":"%s","kind":"%s"},"%s":"' % (self.own, name, payload)

    def inside(self, payload, is_last):
        if self.kind == TEXT:
            return b"".join(ESCAPED.get(byte, byte) for byte in payload) + (b'"}' if is_last else b"")
        self.left += payload
        whole = len(self.left) if is_last else len(self.left) // 3 * 3
        encoded, self.left = base64.b64encode(self.left[:whole]), self.left[whole:]
        return encoded + (b'"}' if is_last else b"")

    def sendFrame(self, opcode, payload=b"", fin=True, payload_len=None, **options):
        if not self.is_subscribed or opcode > BINARY or (opcode == 0 and self.kind is None):
            return FuzzingClientProtocol.sendFrame(self, opcode=opcode, payload=payload, fin=fin, payload_len=payload_len, **options)
        if payload_len is not None:
            payload = (payload * (payload_len // max(len(payload), 1) + 1))[:payload_len]
        head = self.begin(opcode) if opcode else b""
        wrapped = head + self.inside(payload, fin)
        if fin:
            self.kind = None
        FuzzingClientProtocol.sendFrame(self, opcode=opcode, payload=wrapped, fin=fin, **options)

    # A few cases send the bytes of one frame piece by piece. None of their messages has to be escaped.
    def beginMessage(self, isBinary=False, doNotCompress=False):
        self.kind, self.is_first = BINARY if isBinary else TEXT, True
        assert not isBinary, "no case does"
        FuzzingClientProtocol.beginMessage(self, isBinary, doNotCompress)

    def beginMessageFrame(self, length):
        head = self.begin(TEXT) if self.is_first else b""
        self.is_first, self.frame_left = False, length
        FuzzingClientProtocol.beginMessageFrame(self, len(head) + length + 2)
        if head:
            FuzzingClientProtocol.sendMessageFrameData(self, head)

    def sendMessageFrameData(self, payload, sync=False):
        self.frame_left -= len(payload)
        end = b'"}' if self.frame_left <= 0 else b""
        return FuzzingClientProtocol.sendMessageFrameData(self, payload + end, sync)


def left_out():
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "autobahn.txt")) as listed:
        lines = [line.rstrip("\n").split("\t") for line in listed if line.strip() and not line.startswith("#")]
    return dict(lines)


def main(address, reports, cases):
    # The factory makes what the module calls so.
    fuzzing.FuzzingClientProtocol = Wrapping
    excluded = left_out()
    spec = {
        "outdir": reports,
        "servers": [{"agent": "millrace-gateway", "url": "ws://%s/events" % address, "protocols": ["millrace.v1"]}],
        "cases": cases or ["*"],
        "exclude-cases": sorted(excluded),
        "exclude-agent-cases": {},
    }
    factory = FuzzingClientFactory(spec)
    reactor.run()
    results = factory.agents.get("millrace-gateway", {})
    counts, failed = {}, []
    in_order = sorted(results, key=lambda case: [int(part) for part in case.split(".")])
    for case in in_order:
        result = results[case]
        verdict = (result["behavior"], result["behaviorClose"])
        right = verdict[0] in ("OK", "NON-STRICT", "INFORMATIONAL", "UNIMPLEMENTED") and verdict[1] in ("OK", "INFORMATIONAL")
        counts[verdict[0]] = counts.get(verdict[0], 0) + 1
        if verdict[0] == "NON-STRICT" or not right:
            print("%s %s: %s, %s; %s; %s" % ("case" if right else "FAILS", case, verdict[0], verdict[1], result["result"], result["resultClose"]))
        if not right:
            failed.append(case)
    missing = len(factory.specCases) - len(results)
    for case, why in sorted(excluded.items()):
        print("left out %s: %s" % (case, why))
    of_each = ", ".join("%s %d" % (name, count) for name, count in sorted(counts.items()))
    print("%d cases (%s), %d failed, %d not run" % (len(results), of_each, len(failed), missing))
    return 1 if failed or missing or not results else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], sys.argv[3:]))
