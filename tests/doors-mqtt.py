"""paho-mqtt and gmqtt against the MQTT door of a gateway: python3 tests/doors-mqtt.py HOST:PORT http://ADDRESS:PORT"""

import asyncio
import queue
import sys
import threading
import time
import urllib.request

import paho.mqtt.client as paho
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

try:
    import gmqtt
except ImportError:
    gmqtt = None


# Longer than anything takes on a machine that has no time.
LONG = 60


class Client:
    """A client of paho-mqtt whose callbacks fill queues."""

    def __init__(self, host, port, name, version=paho.MQTTv5, connect=None, will=None, **options):
        self.messages, self.answers, self.lost = queue.Queue(), queue.Queue(), threading.Event()
        keyed = {} if version == paho.MQTTv5 else {"clean_session": options.pop("clean", True)}
        self.client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id=name, protocol=version, **keyed)
        if will:
            self.client.will_set(*will)
        self.client.on_message = lambda _, __, message: self.messages.put(message)
        self.client.on_connect = lambda _, __, flags, reason, ___: self.answers.put((reason, flags.session_present))
        self.client.on_subscribe = lambda _, __, ___, reasons, ____: self.answers.put(reasons)
        self.client.on_publish = lambda _, __, ___, reason, ____: self.answers.put(reason)
        self.client.on_disconnect = lambda *_: self.lost.set()
        kwargs = {"properties": connect, **options} if version == paho.MQTTv5 else options
        self.client.connect(host, port, **kwargs)
        self.client.loop_start()
        reason, self.session_present = self.answers.get(timeout=LONG)
        assert not reason.is_failure, reason

    def subscribe(self, topic, qos=1, **options):
        self.client.subscribe(topic, **options) if options else self.client.subscribe(topic, qos)
        return self.answers.get(timeout=LONG)

    def publish(self, topic, payload, qos=1, **options):
        self.client.publish(topic, payload, qos, **options)
        return self.answers.get(timeout=LONG)

    def message(self):
        return self.messages.get(timeout=LONG)

    def leave(self):
        self.client.disconnect()
        self.client.loop_stop()


def properties(kind, **values):
    filled = Properties(kind)
    for name, value in values.items():
        setattr(filled, name, value)
    return filled


def basic(host, port, http):
    new, old = Client(host, port, "new"), Client(host, port, "old", paho.MQTTv311)
    for client in (new, old):
        client.subscribe("greet/+")
    for qos in (0, 1):
        for sender, payload in ((new, f"new {qos}"), (old, f"old {qos}")):
            sender.publish("greet/bob", payload, qos)
            for client in (new, old):
                message = client.message()
                assert (message.topic, message.payload.decode()) == ("greet/bob", payload), message.payload
                assert message.qos == qos, (payload, message.qos)
    # MQTT 3.1.1 has no word to say that there is no QoS 2: it is taken, and delivered with QoS 1.
    old.publish("greet/bob", "old 2", 2)
    assert new.message().payload == b"old 2" and old.message().qos == 1
    sent = properties(
        PacketTypes.PUBLISH,
        UserProperty=[("unit", "C"), ("site", "berlin")],
        ContentType="text/plain",
        PayloadFormatIndicator=1,
        ResponseTopic="answers/1",
        CorrelationData=b"\x00\xff",
        MessageExpiryInterval=600,
    )
    new.publish("greet/eve", "21", properties=sent)
    got = new.message().properties
    assert sorted(got.UserProperty) == [("site", "berlin"), ("unit", "C")], got
    assert (got.ContentType, got.PayloadFormatIndicator) == ("text/plain", 1), got
    assert (got.ResponseTopic, got.CorrelationData) == ("answers/1", b"\x00\xff"), got
    assert 300 <= got.MessageExpiryInterval <= 600, got
    assert old.message().payload == b"21"
    request = urllib.request.Request(f"{http}/events?tag=topic=greet/web&tag=page=7", data=b"from HTTP")
    with urllib.request.urlopen(request, timeout=LONG) as response:
        assert response.status == 202
    message = new.message()
    assert (message.topic, message.payload) == ("greet/web", b"from HTTP")
    assert message.properties.UserProperty == [("page", "7")], message.properties
    assert old.message().payload == b"from HTTP"
    new.publish("large", b"x" * 1_000_000)
    assert new.publish("nobody/is/there", "x").getName() == "No matching subscribers"
    new.leave()
    old.leave()


def levels(host, port):
    """What arrives has the lower one of the QoS it was published with and the one that was subscribed."""
    for version in (paho.MQTTv5, paho.MQTTv311):
        publisher = Client(host, port, "publisher", version)
        for subscribed in (0, 1, 2):
            client = Client(host, port, f"subscriber-{subscribed}", version)
            client.subscribe("levels/#", subscribed)
            for published in (0, 1):
                publisher.publish("levels/a", f"{published}", published)
                message = client.message()
                assert (message.payload, message.qos) == (b"%d" % published, min(published, subscribed)), message.qos
            client.leave()
        publisher.leave()


def options(host, port):
    one, other = Client(host, port, "one"), Client(host, port, "other")
    only_others = SubscribeOptions(qos=1, noLocal=True)
    one.subscribe("local/#", options=only_others, properties=properties(PacketTypes.SUBSCRIBE, SubscriptionIdentifier=7))
    one.publish("local/a", "own")
    other.publish("local/a", "other's")
    message = one.message()
    assert (message.payload, message.properties.SubscriptionIdentifier) == (b"other's", [7])
    aliased = properties(PacketTypes.PUBLISH, TopicAlias=3)
    other.publish("local/b", "1", properties=aliased)
    other.publish("", "2", properties=aliased)
    assert [one.message().topic for _ in range(2)] == ["local/b"] * 2
    reasons = one.subscribe("$share/without-a-filter")
    assert reasons[0].is_failure, reasons
    one.client.publish("retained", "x", 1, retain=True)
    assert one.lost.wait(LONG), "nothing is retained, and the client hears it"
    one.leave()
    other.leave()


def sessions(host, port):
    keep = properties(PacketTypes.CONNECT, SessionExpiryInterval=600)
    other = Client(host, port, "other")
    for version, first, again in (
        (paho.MQTTv5, {"connect": keep, "clean_start": True}, {"connect": keep, "clean_start": False}),
        (paho.MQTTv311, {"clean": False}, {"clean": False}),
    ):
        client = Client(host, port, f"kept-{version}", version, **first)
        assert not client.session_present
        client.subscribe("kept/#")
        client.leave()
        other.publish("kept/a", "while away")
        client = Client(host, port, f"kept-{version}", version, **again)
        assert client.session_present and client.message().payload == b"while away"
        client.leave()
    watch = Client(host, port, "watch")
    watch.subscribe("will/#")
    lost = Client(host, port, "lost", will=("will/lost", "gone", 1, False))
    lost.client.socket().shutdown(2)
    assert watch.message().payload == b"gone"
    lost.leave()
    watch.leave()
    other.leave()


def groups(host, port):
    members = [Client(host, port, f"member-{number}") for number in range(4)]
    for member in members:
        member.subscribe("$share/workers/jobs/#")
    publisher = Client(host, port, "publisher")
    for number in range(200):
        reason = publisher.publish(f"jobs/{number % 40}", str(number))
        assert reason.getName() == "Success", reason
    shares, end = [], time.monotonic() + LONG
    while sum(map(len, shares)) < 200 and time.monotonic() < end:
        time.sleep(0.02)
        shares = [list(member.messages.queue) for member in members]
    taken = sorted(int(message.payload) for share in shares for message in share)
    assert taken == list(range(200)), len(taken)
    assert sum(bool(share) for share in shares) >= 2, "one member has all the work"
    for client in (*members, publisher):
        client.leave()


async def asynchronous(host, port):
    messages = asyncio.Queue()
    client = gmqtt.Client("gmqtt", session_expiry_interval=600)
    subscribed = asyncio.Event()
    client.on_subscribe = lambda *_: subscribed.set()
    client.on_message = lambda _, topic, payload, qos, properties: messages.put_nowait((topic, payload, properties)) or 0
    await client.connect(host, port, version=gmqtt.constants.MQTTv50)
    client.subscribe("async/#", qos=1, subscription_identifier=9)
    await asyncio.wait_for(subscribed.wait(), LONG)
    for number in range(100):
        client.publish(f"async/{number}", str(number), qos=number % 2, user_property=("n", str(number)))
    got = [await asyncio.wait_for(messages.get(), LONG) for _ in range(100)]
    assert sorted(int(payload) for _, payload, _ in got) == list(range(100))
    assert all(properties["user_property"] == [("n", payload.decode())] for _, payload, properties in got)
    assert all(properties["subscription_identifier"] == [9] for _, _, properties in got)
    await client.disconnect()


def main(address, http):
    host, port = address.rsplit(":", 1)
    port = int(port)
    basic(host, port, http)
    levels(host, port)
    options(host, port)
    sessions(host, port)
    groups(host, port)
    if gmqtt:
        asyncio.run(asyncio.wait_for(asynchronous(host, port), 4 * LONG))
    else:
        print("left out: gmqtt is not installed")


main(*sys.argv[1:])
