"""Those who want to know about hosts: consumers.py ROLE FILE < lines of JSON.

Each line is an event as the agent's door writes it: {"id","time","tags","payload"}. Lines that are no
events say that the subscription stands, or that something is missing. An event may come again behind a
restart, so that each role writes what it knows, and not what it was told.
"""

import json
import sys

role, path = sys.argv[1:]
known = {}


def keymaster(tags, payload):
    """Lines of a known_hosts file."""
    known[tags["fqdn"]] = f"{tags['fqdn']} {' '.join(payload.split()[:2])}"


def backups(tags, payload):
    """Folders to back up, by host."""
    known[tags["fqdn"]] = f"{tags['schedule']} {tags['fqdn']}: {' '.join(payload.split())}"


def checks(tags, payload):
    """Services to watch, as Nagios has them."""
    known[tags["fqdn"], tags["check"]] = (
        f"define service {{ host_name {tags['fqdn']}; check_command {payload.strip()}; }}"
    )


def statistics(tags, payload):
    """The mean of each metric of each host."""
    readings = known.setdefault((tags["fqdn"], tags["metric"]), {})
    readings[tags["reading"]] = float(payload)


def lines():
    if role != "statistics":
        return known.values()
    shown = lambda readings: f"n={len(readings)} mean={sum(readings.values()) / len(readings):.2f}"
    return (f"{host} {metric} {shown(readings)}" for (host, metric), readings in known.items())


for line in sys.stdin:
    event = json.loads(line) if line.strip() else {}
    if "gap" in event:
        print(f"{role}: something is missing: {event['gap']}", file=sys.stderr)
    if "tags" in event:
        globals()[role](event["tags"], event["payload"])
        with open(path, "w") as file:
            file.writelines(f"{text}\n" for text in sorted(lines()))
    if "subscribed" in event:
        print(f"{role}: subscribed", file=sys.stderr, flush=True)
