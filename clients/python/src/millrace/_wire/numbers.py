"""The numbers of frames, features, flags and enums (docs/wire.md, sections 5, 8, 10, 11 and 13)."""

from __future__ import annotations

ALPN = "millrace/1"
VERSION = 1
DEFAULT_PORT = 7400

# Control frames.
HELLO, WELCOME, PING, PONG, GOAWAY, CREDIT, RECEIVED = 0x20, 0x22, 0x24, 0x26, 0x28, 0x2A, 0x2C
OUTCOME, ACK = 0x2E, 0x30
OPEN_RECEIVER, SUBSCRIBE, UNSUBSCRIBE, SUBSCRIBED, REFUSED = 0x34, 0x36, 0x38, 0x3A, 0x3C
GRANT, CLOSE_RECEIVER, RECEIVER_CLOSED, MEMBER = 0x3E, 0x40, 0x42, 0x4A
# Those that a client reads.
READ = frozenset(
    {WELCOME, PING, PONG, GOAWAY, CREDIT, RECEIVED, OUTCOME, SUBSCRIBED, REFUSED, RECEIVER_CLOSED}
)

# Frames of data streams, and their preambles.
DEFINE_TAGS, DEFINE_PUBLISHER, RUN, GAP = 0x10, 0x12, 0x14, 0x16
CURSOR, REPLAY, DEFINE_SOURCE = 0x19, 0x1D, 0x1E
PUBLISH_PREAMBLE, DELIVER_PREAMBLE = 0x50, 0x52

FEATURE_PROOF, FEATURE_CONFIRMS, FEATURE_HISTORY, FEATURE_GROUPS = 2, 3, 4, 5

FLAG_LEVEL, FLAG_INLINE_TAGS, FLAG_INLINE_PUBLISHER = 3, 4, 8
FLAG_RESENT, FLAG_MAYBE_DUPLICATE = 16, 32
HOP_TAGS, HOP_PUBLISHER, HOP_POSITION, HOP_TICKET = 1, 2, 3, 6

LEVELS = {"none": 0, "routed": 1, "delivered": 2}
POLICIES = {"drop-oldest": 0, "drop-newest": 1, "block": 2, "disconnect": 3}
OUTCOMES = {1: "confirmed", 2: "partial", 3: "dropped", 4: "unknown"}
STAGE_ROUTER, STAGE_CLUSTER = 1, 2
ACK_TAKEN, ACK_REFUSED = 1, 2

GAP_REASONS = {
    1: "overflow",
    2: "router_lost",
    3: "lane_overflow",
    4: "mailbox_overflow",
    5: "joined",
    6: "session_lost",
    7: "too_large",
    8: "pattern_budget",
    9: "rules",
    10: "takeover",
    11: "evicted",
    12: "overrun",
    13: "expired",
    14: "shed",
}
OUTCOME_REASONS = {
    1: "overflow",
    2: "peer_lost",
    3: "departed",
    4: "pattern_budget",
    5: "timeout",
    6: "group_unavailable",
    7: "group_attempts",
    8: "expired",
    9: "few_receivers",
    10: "busy",
    11: "no_receiver",
    12: "forbidden",
    13: "fenced",
    14: "cluster_path",
    15: "lane_overflow",
    16: "mailbox_overflow",
    17: "too_large",
    18: "refused",
    19: "cannot_acknowledge",
}
REFUSED_REASONS = {
    1: "selector",
    2: "limit",
    3: "forbidden",
    4: "receiver",
    5: "unsupported",
    6: "pattern",
    7: "busy",
    8: "name",
    9: "history",
    10: "publisher",
    11: "reserved_key",
    12: "fenced",
}
CLOSE_CODES = {
    0x00: "done",
    0x01: "going_away",
    0x02: "malformed",
    0x03: "limit",
    0x04: "unknown_frame",
    0x05: "version",
    0x06: "unexpected",
    0x07: "forbidden",
    0x08: "busy",
    0x09: "timeout",
    0x0A: "replaced",
    0x0B: "my_own_address",
    0x0C: "overflow",
    0x0D: "internal",
}
# After these, the same attempt fails again (section 10).
FINAL_CODES = frozenset({"version", "forbidden", "malformed", "limit", "unexpected"})
