"""Runs every query of a dashboard, and every expression of alert rules, on a Prometheus.

queries.py URL DASHBOARD RULES. A query of the dashboard must return samples within PATIENCE seconds; an
expression of a rule must be understood. Exit code 1 names those that do not.
"""

import json
import re
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

PATIENCE = 40
# What Grafana puts in.
VARIABLES = {"$job": ".*", "$instance": ".*", "$__rate_interval": "4s"}


def ask(url, expression):
    """The samples of an expression, or why there are none."""
    query = urllib.parse.urlencode({"query": expression})
    try:
        with urllib.request.urlopen(f"{url}/api/v1/query?{query}", timeout=5) as answer:
            return json.load(answer)["data"]["result"], None
    except urllib.error.HTTPError as error:
        return [], json.load(error).get("error", str(error))
    except (urllib.error.URLError, OSError) as error:
        return [], str(error)


def main():
    url, dashboard, rules = sys.argv[1:]
    queries = []
    for panel in json.load(open(dashboard))["panels"]:
        for target in panel.get("targets", []):
            expression = target["expr"]
            for name, value in VARIABLES.items():
                expression = expression.replace(name, value)
            queries.append((panel["title"], expression))
    left, begun = queries, time.monotonic()
    while left and time.monotonic() - begun < PATIENCE:
        time.sleep(1)
        left = [(title, expression) for title, expression in left if not ask(url, expression)[0]]
    for title, expression in left:
        print(f"no samples: {title}: {expression}: {ask(url, expression)[1] or 'empty'}")
    with urllib.request.urlopen(f"{url}/api/v1/rules", timeout=5) as answer:
        groups = json.load(answer)["data"]["groups"]
    known = [rule for group in groups for rule in group["rules"]]
    written = len(re.findall(r"^ *- alert:", open(rules).read(), re.MULTILINE))
    wrong = [rule["name"] for rule in known if rule["health"] != "ok"]
    print(f"{len(queries) - len(left)} of {len(queries)} queries have samples; "
          f"{len(known) - len(wrong)} of {written} rules are well {' '.join(wrong)}")
    sys.exit(1 if left or wrong or len(known) != written else 0)


main()
