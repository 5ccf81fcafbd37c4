"""WebSocket as others speak it: python3 tests/doors-websocket.py ADDRESS:PORT

The client of the package websockets, unmodified.
"""

import json
import sys

from websockets.sync.client import connect

HOST, PORT = sys.argv[1].rsplit(":", 1)


def package() -> None:
    with connect(f"ws://{HOST}:{PORT}/events", subprotocols=["millrace.v1"], open_timeout=60) as client:
        assert client.subprotocol == "millrace.v1"
        client.send(json.dumps({"op": "subscribe", "sub": "s", "select": ["door=websockets"]}))
        assert json.loads(client.recv(60))["op"] == "subscribed"
        client.send(json.dumps({"op": "publish", "ref": "r", "tags": {"door": "websockets"}, "payload": "grüße"}))
        answers = [json.loads(client.recv(60)) for _ in range(2)]
        event = next(answer for answer in answers if answer["op"] == "event")
        outcome = next(answer for answer in answers if answer.get("ref") == "r")
        assert (event["payload"], event["id"], outcome["outcome"]) == ("grüße", outcome["id"], "confirmed"), answers
        client.ping(b"x").wait(60)


package()
