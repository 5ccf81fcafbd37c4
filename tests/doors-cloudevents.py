"""The CloudEvents SDK of Python against the HTTP door: python3 tests/doors-cloudevents.py http://ADDRESS:PORT"""

import json
import sys
import urllib.error
import urllib.request
from datetime import datetime, timezone

from cloudevents.core.bindings.http import to_binary_event, to_structured_event
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent


def post(http: str, headers: dict, body) -> dict:
    body = body.encode() if isinstance(body, str) else body
    request = urllib.request.Request(f"{http}/events?tag=sdk=python", data=body, headers=headers)
    with urllib.request.urlopen(request, timeout=120) as answer:
        assert answer.status == 202, answer.status
        return json.load(answer)


def main(http: str) -> None:
    stream = urllib.request.urlopen(f"{http}/events?select=sdk=python&format=jsonl", timeout=120)

    def line() -> dict:
        while True:
            text = stream.readline().strip()
            if text:
                return json.loads(text)

    assert line() == {"subscribed": {}}
    attributes = {
        "id": "17",
        "source": "/doors/ü",
        "type": "check.sdk",
        "subject": "100% €, \"quoted\"",
        "time": datetime(2026, 11, 28, 12, 30, 15, 250000, tzinfo=timezone.utc),
        "comexampleextension": "value",
        "specversion": "1.0",
    }
    tags = {
        "sdk": "python",
        "ce_id": "17",
        "ce_source": "/doors/ü",
        "ce_type": "check.sdk",
        "ce_subject": "100% €, \"quoted\"",
        "comexampleextension": "value",
    }
    cases = [
        ("binary", to_binary_event, "text/plain", "hello", "hello"),
        ("structured", to_structured_event, "text/plain", "hello", "hello"),
        ("binary", to_binary_event, "application/json", {"a": [1, None]}, {"a": [1, None]}),
        ("structured", to_structured_event, "application/json", {"a": [1, None]}, {"a": [1, None]}),
    ]
    for mode, convert, media, data, expected in cases:
        message = convert(CloudEvent({**attributes, "datacontenttype": media}, data), JSONFormat())
        answer = post(http, message.headers, message.body)
        assert answer["outcome"] == "confirmed", answer
        event = line()
        assert event["id"] == answer["id"], event
        found = {key: value for key, value in event["tags"].items() if key != "ce_datacontenttype"}
        assert found == tags, (mode, found)
        assert event["tags"]["ce_datacontenttype"].startswith(media), event
        assert event["time"] == "2026-11-28T12:30:15.25Z", event
        got = json.loads(event["payload"]) if media == "application/json" else event["payload"]
        assert got == expected, (mode, event)

    # A batch is what the format makes of each event, in a list.
    parts = [to_structured_event(CloudEvent({**attributes, "id": str(n)}, {"n": n}), JSONFormat()).body for n in range(100)]
    parts = [part.decode() if isinstance(part, bytes) else part for part in parts]
    answer = post(http, {"content-type": "application/cloudevents-batch+json"}, f"[{','.join(parts)}]")
    assert len(answer["events"]) == 100, answer
    # Each has tags of its own, and events of different tags may pass each other.
    assert sorted(int(line()["tags"]["ce_id"]) for _ in range(100)) == list(range(100))
    parts[7] = "{}"
    try:
        post(http, {"content-type": "application/cloudevents-batch+json"}, f"[{','.join(parts)}]")
        raise AssertionError("half a batch was taken")
    except urllib.error.HTTPError as error:
        problem = json.load(error)
        assert (error.code, problem["index"]) == (400, 7), problem


main(sys.argv[1])
