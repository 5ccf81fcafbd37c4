"""What is wrong at each door of a gateway is answered in words, counted under its reason, and disturbs nobody else.

    python3 doors-wrong.py HTTP NATS MQTT SYSLOG_TCP ADMIN      # addresses; exit code 1 when something was answered or counted otherwise

Sockets write prepared bytes. A stream of server-sent events, a subscriber of NATS and one of MQTT are there all the time, and each gets
what is published at the end.
"""

import base64
import json
import os
import re
import socket
import struct
import sys
import time

from mqtt_packets import packet as mqtt_packet, text

# What comes takes milliseconds, and on a machine that has no time at all still less than this.
LONG = 60
HTTP, NATS, MQTT, SYSLOG, ADMIN = sys.argv[1:6]
failed = []


def dial(at):
    host, port = at.rsplit(":", 1)
    connection = socket.create_connection((host, int(port)), LONG)
    connection.settimeout(LONG)
    return connection


def read_to_end(connection):
    said = b""
    try:
        while data := connection.recv(65536):
            said += data
    except ConnectionResetError:
        pass
    except TimeoutError:
        return said + b" and stays open"
    return said


def read_until(connection, pattern):
    said = b""
    try:
        while not re.search(pattern, said, re.S) and (data := connection.recv(65536)):
            said += data
    except (ConnectionResetError, TimeoutError):
        pass
    return said


def counts():
    connection = dial(ADMIN)
    connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    text = read_to_end(connection).decode()
    found = re.findall(r'^millrace_gateway_(refused|dropped_events)_total\{door="(\w+)",reason="(\w+)"\} (\d+)', text, re.M)
    return {(door, reason): int(count) for _, door, reason, count in found}


def check(name, door, reason, said, pattern, before):
    """Whether the door said that, and counted it under this reason once; a door counts behind its answer."""
    end, is_said = time.monotonic() + LONG, re.search(pattern, said, re.S)
    while True:
        new = {key: count - before.get(key, 0) for key, count in counts().items() if count != before.get(key, 0)}
        if is_said and new == ({(door, reason): 1} if reason else {}):
            return
        if (door, "slow") in new:
            # A busy host gave this client no time for 5 s, and the door has sent it away before it said anything.
            return print(f"not judged: {name}")
        if not is_said:
            return failed.append(f"{name}: {said[:300]!r}, not {pattern!r}")
        if time.monotonic() > end:
            return failed.append(f"{name}: counted {new}, not {door} {reason}")
        time.sleep(0.02)


def head(path="/events?tag=a=b", *lines, method="POST"):
    return "\r\n".join([f"{method} {path} HTTP/1.1", f"Host: {HTTP}", "Connection: close", *lines, "", ""]).encode()


def http_case(name, request, pattern, reason, half=False, door="http"):
    before, connection = counts(), dial(HTTP)
    try:
        connection.sendall(request)
        if half:
            connection.shutdown(socket.SHUT_WR)
    except (BrokenPipeError, ConnectionResetError):
        pass
    said = read_to_end(connection) if door == "http" else read_until(connection, pattern)
    check(name, door, reason, said, pattern, before)
    connection.close()


def post(body, kind, path="/events?tag=a=b"):
    return head(path, f"Content-Type: {kind}", f"Content-Length: {len(body)}") + body


def nats_connection(connect=b"{}"):
    connection = dial(NATS)
    connection.sendall(b"CONNECT " + connect + b"\r\nPING\r\n")
    read_until(connection, rb"PONG\r\n|-ERR")
    return connection


def mqtt_connect(level, name=b"", protocol=b"MQTT"):
    properties = b"\0" if level == 5 else b""
    return mqtt_packet(0x10, text(protocol), bytes([level, 2, 0, 0]), properties, text(name))


def mqtt_connection(level=5, name=b""):
    # A door sends away whom a busy host gives no time for 5 s: that is no failure of its.
    for _ in range(5):
        connection = dial(MQTT)
        connection.sendall(mqtt_connect(level, name))
        if read_until(connection, rb"^\x20"):
            return connection
    raise SystemExit("the MQTT door admits nobody")


def witnesses():
    """Clients that get what is published on `witness.a`, and what they are to hear."""
    stream = dial(HTTP)
    stream.sendall(head("/events?select=subject%3Dwitness.a", method="GET"))
    read_until(stream, b"event: subscribed")
    nats = nats_connection()
    nats.sendall(b"SUB witness.* 7\r\nPING\r\n")
    read_until(nats, b"PONG")
    mqtt = mqtt_connection(4, b"witness")
    mqtt.sendall(mqtt_packet(0x82, b"\0\1", text(b"witness/+"), b"\0"))
    read_until(mqtt, rb"\x90\x03\x00\x01\x00")
    return stream, nats, mqtt


stream, nats, mqtt = witnesses()
EVENT = b'{"specversion":"1.0","id":"1","source":"/x","type":"t"}'
STRUCTURED, BATCH = "application/cloudevents+json", "application/cloudevents-batch+json"
for case in [
    ("HTTP: half a body", head("/events?tag=a=b", "Content-Type: text/plain", "Content-Length: 100") + b"half", b"400.*ends early", "malformed", True),
    ("HTTP: a head of 70,000 bytes", head("/events?tag=a=b", "X-Long: " + "x" * 70_000), b"431", "too_large"),
    ("HTTP: no HTTP", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", b"400", "malformed"),
    ("HTTP: a length that is none", head("/events?tag=a=b", "Content-Length: many"), b"400", "malformed"),
    ("HTTP: JSON that ends early", post(EVENT[:-9], STRUCTURED), b'400.*"malformed".*JSON', "malformed"),
    ("HTTP: a batch with a wrong event", post(b"[" + EVENT + b',{"id":"2"}]', BATCH), b'400.*"index":1', "malformed"),
    ("HTTP: a batch of 1,001", post(b"[" + b",".join([EVENT] * 1001) + b"]", BATCH), b"413.*1,?000", "too_large"),
    ("HTTP: an unknown kind of CloudEvent", post(EVENT, "application/cloudevents+xml"), b"415.*content_type", "content_type"),
    ("HTTP: a body beyond 1 MiB", head("/events?tag=a=b", "Content-Type: text/plain", "Content-Length: 1048577"), b"413.*1048576", "too_large"),
    ("HTTP: a tag that is no UTF-8", post(b"x", "text/plain", "/events?tag=a=%ff%fe"), b"400.*UTF-8", "malformed"),
    ("HTTP: a tag without a value", post(b"x", "text/plain", "/events?tag=nothing"), b"400.*key=value", "malformed"),
    ("HTTP: a tag that only routers set", post(b"x", "text/plain", "/events?tag=millrace/x=1"), b"400.*routers only", "malformed"),
    ("HTTP: a level that there is not", post(b"x", "text/plain", "/events?tag=a=b&level=sure"), b"400.*level", "malformed"),
    ("SSE: a selector that cannot be read", head("/events?select=a%3D%3D%3Db", method="GET"), b"400.*column", "malformed", False, "web"),
    ("SSE: a cursor that is none", head("/events?select=a&cursor=nonsense", method="GET"), b"200 OK.*event: gap.*event: subscribed", None, False, "web"),
]:
    http_case(*case)


def web_socket():
    connection = dial(HTTP)
    key = base64.b64encode(os.urandom(16)).decode()
    connection.sendall(head("/events", "Upgrade: websocket", f"Sec-WebSocket-Key: {key}", "Sec-WebSocket-Version: 13",
                            "Sec-WebSocket-Protocol: millrace.v1", method="GET").replace(b"Connection: close", b"Connection: Upgrade"))
    read_until(connection, rb"\r\n\r\n")
    return connection


def frame(payload, first=0x81, masked=True):
    length = len(payload)
    size = bytes([length]) if length < 126 else b"\x7e" + struct.pack(">H", length) if length < 65536 else b"\x7f" + struct.pack(">Q", length)
    if not masked:
        return bytes([first]) + size + payload
    return bytes([first, size[0] | 0x80]) + size[1:] + b"\0\0\0\0" + payload


closes = lambda code: rb"\x88." + struct.pack(">H", code)
for name, data, pattern, reason in [
    ("WebSocket: a frame without a mask", frame(b"{}", masked=False), closes(1002), "malformed"),
    ("WebSocket: an opcode that there is not", frame(b"{}", first=0x83), closes(1002), "malformed"),
    ("WebSocket: a ping of 126 bytes", frame(b"x" * 126, first=0x89), closes(1002), "malformed"),
    ("WebSocket: text that is no UTF-8", frame(b"\xff\xfe"), closes(1007), "malformed"),
    ("WebSocket: a frame that says 3 MiB", bytes([0x81, 0xff]) + struct.pack(">Q", 3 << 20) + b"\0\0\0\0", closes(1009), "too_large"),
    ("WebSocket: no JSON", frame(b"hello"), b'"op":"error"', "malformed"),
    ("WebSocket: an op that there is not", frame(b'{"op":"fly"}'), b'fly.*"op":"error"', "malformed"),
    ("WebSocket: a selector that cannot be read", frame(b'{"op":"subscribe","sub":"1","select":["a==="]}'), b'column.*"op":"error"', "malformed"),
    ("WebSocket: an event without tags", frame(b'{"op":"publish","ref":"1","payload":"x"}'), b'"op":"error"', "malformed"),
]:
    before, connection = counts(), web_socket()
    connection.sendall(data)
    check(name, "web", reason, read_until(connection, pattern), pattern, before)
    connection.close()


OPERATION = rb"-ERR 'Unknown Protocol Operation'"
for name, data, pattern, reason in [
    ("NATS: a payload longer than it says", b"PUB a.b 3\r\nhello\r\n", OPERATION, "malformed"),
    ("NATS: a length that is none", b"PUB a.b -5\r\nhello\r\n", OPERATION, "malformed"),
    ("NATS: a length beyond all numbers", b"PUB a.b 99999999999999999999999\r\n", OPERATION, "malformed"),
    ("NATS: a payload beyond the maximum", b"PUB a.b 1040385\r\n", rb"-ERR 'Maximum Payload Violation'", "too_large"),
    ("NATS: headers longer than the message", b"HPUB a.b 20 10\r\n", OPERATION, "malformed"),
    ("NATS: headers that are none", b"HPUB a.b 4 5\r\nnonex\r\n", rb"-ERR 'Invalid Publish Subject'", "malformed"),
    ("NATS: a subject that is no UTF-8", b"PUB a.\xff\xfe 1\r\nx\r\n", OPERATION, "malformed"),
    ("NATS: a subject with an empty token", b"PUB a..b 1\r\nx\r\n", rb"-ERR 'Invalid Publish Subject'", "malformed"),
    ("NATS: a subject of 3,000 bytes", b"PUB " + b"a" * 3000 + b" 1\r\nx\r\n", rb"-ERR 'Invalid Publish Subject'", "malformed"),
    ("NATS: a subscription without a name", b"SUB a.b\r\n", OPERATION, "malformed"),
    ("NATS: a pattern that is none", b"SUB a.>.b 1\r\n", rb"-ERR 'Invalid Subject'", "malformed"),
    ("NATS: a line of 5,000 bytes", b"x" * 5000, rb"-ERR 'Maximum Control Line Exceeded'", "too_large"),
    ("NATS: a command that there is not", b"GET / HTTP/1.1\r\n\r\n", OPERATION, "malformed"),
]:
    before, connection = counts(), nats_connection()
    connection.sendall(data)
    check(name, "nats", reason, read_until(connection, pattern), pattern, before)
    connection.close()
before, connection = counts(), dial(NATS)
connection.sendall(b"CONNECT {no json}\r\n")
check("NATS: CONNECT without JSON", "nats", "malformed", read_to_end(connection), OPERATION, before)


def mqtt_case(name, data, pattern, reason, connection=None):
    before = counts()
    connection = connection or dial(MQTT)
    connection.sendall(data)
    check(name, "mqtt", reason, read_to_end(connection), pattern, before)


mqtt_case("MQTT: 3.1", mqtt_connect(3, b"a", b"MQIsdp"), rb"^\x20\x02\x00\x01$", "malformed")
mqtt_case("MQTT: a level that there is not", mqtt_connect(9, b"a"), rb"^\x20.*[\x01\x84]", "malformed")
mqtt_case("MQTT: no CONNECT first", mqtt_packet(0x30, text(b"a"), b"x"), rb"", "malformed")
mqtt_case("MQTT: a length that never ends", b"\x10\xff\xff\xff\xff\xff\xff", rb"", "malformed")
mqtt_case("MQTT: a first packet of 100 MB", b"\x10\x80\xc2\xd7\x2f", rb"", "too_large")
for name, data, code, reason in [
    ("MQTT: CONNECT twice", mqtt_connect(5), 0x82, "malformed"),
    ("MQTT: a topic that is no UTF-8", mqtt_packet(0x30, text(b"\xff\xfe"), b"\0", b"x"), 0x81, "malformed"),
    ("MQTT: a topic of 65,535 bytes", mqtt_packet(0x30, text(b"a" * 65535), b"\0", b"x"), 0x90, "malformed"),
    ("MQTT: a topic with a wildcard", mqtt_packet(0x30, text(b"a/+"), b"\0", b"x"), 0x90, "malformed"),
    ("MQTT: a topic longer than its packet", mqtt_packet(0x30, b"\xff\xff", b"abc"), 0x81, "malformed"),
    ("MQTT: QoS 3", mqtt_packet(0x36, text(b"a"), b"\0\1", b"\0", b"x"), 0x81, "malformed"),
    ("MQTT: QoS 1 without a number", mqtt_packet(0x32, text(b"a"), b"\0\0", b"\0", b"x"), 0x82, "malformed"),
    ("MQTT: SUBSCRIBE without a filter", mqtt_packet(0x82, b"\0\1", b"\0"), 0x82, "malformed"),
    ("MQTT: a property that there is not", mqtt_packet(0x30, text(b"a"), b"\x02\x7f\x00", b"x"), 0x81, "malformed"),
    ("MQTT: a packet beyond the maximum", b"\x30\x80\x80\x80\x01", 0x95, "too_large"),
]:
    mqtt_case(name, data, rb"\xe0." + re.escape(bytes([code])), reason, mqtt_connection())

for name, data, reason in [
    ("syslog: a count of ten digits", b"1234567890 <13>x", "malformed"),
    ("syslog: a count without a space", b"12x<13>hello", "malformed"),
    ("syslog: a count with a leading zero", b"012 <13>hello", "malformed"),
    ("syslog: neither a count nor a priority", b"hello\n", "malformed"),
    ("syslog: a counted message beyond 64 KiB", b"70000 " + b"<13>" + b"x" * 69_996, "too_large"),
]:
    before, connection = counts(), dial(SYSLOG)
    try:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
    except OSError:
        pass
    check(name, "syslog", reason, read_to_end(connection), b"", before)
for name, data in [
    ("syslog: a line of 100,000 bytes is cut", b"<13>" + b"y" * 100_000 + b"\n"),
    ("syslog: bytes that are no UTF-8", b"<13>host app: \xff\xfe\x00\n"),
    ("syslog: a priority beyond all", b"<999>hello\n"),
    ("syslog: a version that there is not", b"<13>99 - - - - - -\n"),
]:
    before, connection = counts(), dial(SYSLOG)
    connection.sendall(data)
    connection.shutdown(socket.SHUT_WR)
    check(name, "syslog", None, read_to_end(connection), b"", before)

before = counts()
for at, request in ((HTTP, post(b"to all", "text/plain", "/events?tag=subject%3Dwitness.a")),
                    (HTTP, post(b"to all", "text/plain", "/events?tag=topic%3Dwitness/a"))):
    connection = dial(at)
    connection.sendall(request)
    check("publishing behind all that", "http", None, read_to_end(connection), b" 202 ", before)
for name, connection, pattern in [
    ("the stream", stream, b'"payload":"to all"'),
    ("the subscriber of NATS", nats, b"MSG witness.a 7 6\r\nto all\r\n"),
    ("the subscriber of MQTT", mqtt, b"\x30.\x00\x09witness/ato all"),
]:
    check(f"{name} behind all that", "", None, read_until(connection, pattern), pattern, before)
print("\n".join(failed), file=sys.stderr)
sys.exit(1 if failed else 0)
