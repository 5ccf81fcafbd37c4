"""What no schema says about the manifests: `check.py RENDERED_FOLDER CHART_FOLDER`.

The folder holds one file per Kustomize root: base.yaml, gateway.yaml, agent.yaml, dev.yaml,
bench.yaml, prod.yaml. What the chart renders with other values is left beside the folder, as chart.yaml.
- The chart's defaults render to the objects of the base, with `gateway.enabled` and
  `agent.enabled` to those of gateway and agent, too; wrong values are refused by its schema.
- What cert-manager and it agree on: every key of its objects is one that its models know.
- Selectors select, names that objects give each other exist, ports are those of the programs.
Every difference is printed; the exit code is 1 when there is one.
"""

import json
import re
import sys
from pathlib import Path

import yaml
from cloudcoil.models.cert_manager.v1 import Certificate, Issuer
from helm_python.chart import Chart, lint
from helm_python.errors import HelmError

problems = []


def problem(text):
    problems.append(text)


def objects(text):
    return {(o["kind"], o["metadata"]["name"]): o for o in yaml.safe_load_all(text) if o}


def compare(at, one, other):
    """Says where two values differ."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in sorted({*one, *other}):
            compare(f"{at}.{key}", one.get(key, "(absent)"), other.get(key, "(absent)"))
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for number, pair in enumerate(zip(one, other)):
            compare(f"{at}[{number}]", *pair)
    elif one != other:
        problem(f"{at}: the base says {json.dumps(one)}, the chart {json.dumps(other)}")


def rendered(chart, values=None, name="millrace"):
    files = chart.render(values, name=name, namespace="default")
    texts = [text for path, text in files.items() if path.endswith(".yaml")]
    return objects("\n---\n".join(texts))


def compare_all(base, chart):
    """Says which objects differ."""
    for key in sorted({*base, *chart}):
        if key not in base or key not in chart:
            problem(f"{'/'.join(key)} is only in the {'base' if key in base else 'chart'}")
        else:
            compare("/".join(key), base[key], chart[key])


def check_chart(folder, base, gateway, agent):
    told = lint(folder, strict=True)
    for message in told["errors"] + [m for m in told["messages"] if m["severity"] > 1]:
        problem(f"chart: {message}")
    with Chart.load(folder) as chart:
        compare_all(base, rendered(chart))
        compare_all(base | gateway, rendered(chart, {"gateway": {"enabled": True}}))
        compare_all(base | agent, rendered(chart, {"agent": {"enabled": True}}))
        for wrong in (
            {"cores": 0},
            {"replicas": "three"},
            {"image": {"repo": "x"}},
            {"resources": {"limits": {"memory": "much"}}},
            {"zoneSpread": "Never"},
            {"zoneFromLabel": "yes"},
            {"gateway": {"replicas": 0}},
            {"agent": {"replicas": 1}},
            {"unknown": 1},
        ):
            try:
                chart.validate_schema(wrong)
                problem(f"chart: the schema accepts {wrong}")
            except HelmError:
                pass
        more = {
            "autoscaling": {"enabled": True},
            "serviceAnnotations": {"a": "b"},
            "zoneFromLabel": True,
            "extraArgs": ["--set=limits.queue_budget=1GiB"],
            "networkPolicy": {"enabled": False},
            "tolerations": [{"operator": "Exists"}],
            "nodeSelector": {"a": "b"},
            "podAnnotations": {"a": "b"},
            "image": {"repository": "x", "pullSecrets": [{"name": "y"}]},
            "config": "[admin]\nlisten = \"off\"\n",
            "gateway": {"enabled": True, "replicas": 3, "tlsSecret": "z"},
            "agent": {"enabled": True, "tlsSecret": "z", "tolerations": [{"operator": "Exists"}]},
        }
        other = rendered(chart, more, "events")
        check_references("chart with other values", other)
        check_zones("chart with other values", other)
        stateful = other["StatefulSet", "events-millrace"]["spec"]
        if "replicas" in stateful:
            problem("chart: replicas are given although the autoscaler is on")
        if ("NetworkPolicy", "events-millrace") in other:
            problem("chart: a NetworkPolicy is there although it is off")
        if ("NetworkPolicy", "events-millrace-gateway") in other:
            problem("chart: the gateway's NetworkPolicy is there although it is off")
        return other


def check_gateways(where, found):
    """Names, labels and ports of gateways."""
    for deployment in (o for (k, _), o in found.items() if k == "Deployment"):
        name, spec = deployment["metadata"]["name"], deployment["spec"]
        pod, labels = spec["template"]["spec"], spec["template"]["metadata"]["labels"]
        selectors = {"Deployment": spec["selector"]["matchLabels"]}
        for kind, path in (
            ("Service", ("selector",)),
            ("PodDisruptionBudget", ("selector", "matchLabels")),
            ("NetworkPolicy", ("podSelector", "matchLabels")),
        ):
            selected = found.get((kind, name), {}).get("spec", {})
            for key in path:
                selected = selected.get(key, {})
            selectors[kind] = selected
        for kind, selector in selectors.items():
            if not selector.items() <= labels.items():
                problem(f"{where}: {kind} of {name} selects {selector}, pods have {labels}")
        for kind, wanted in (("ServiceAccount", pod["serviceAccountName"]), ("ConfigMap", name)):
            if (kind, wanted) not in found:
                problem(f"{where}: Deployment {name} names {kind} {wanted}, which is not there")
        ports = {port["name"]: port["containerPort"] for port in pod["containers"][0]["ports"]}
        for port in found["Service", name]["spec"]["ports"]:
            if ports.get(port["targetPort"]) != port["port"]:
                problem(f"{where}: Service port {port['name']} is no port of the gateway")
        config = found["ConfigMap", name]["data"]["gateway.toml"]
        for door, port in ports.items():
            if f'[{door}]' in config and f':{port}"' not in config:
                problem(f"{where}: the gateway's configuration has no port {port} for {door}")


def check_agents(where, found):
    """Names and labels of agents, and folders of their nodes."""
    for daemon in (o for (k, _), o in found.items() if k == "DaemonSet"):
        name, spec = daemon["metadata"]["name"], daemon["spec"]
        pod, labels = spec["template"]["spec"], spec["template"]["metadata"]["labels"]
        selectors = {"DaemonSet": spec["selector"]["matchLabels"]}
        if ("NetworkPolicy", name) in found:
            selectors["NetworkPolicy"] = found["NetworkPolicy", name]["spec"]["podSelector"]["matchLabels"]
        for kind, selector in selectors.items():
            if not selector.items() <= labels.items():
                problem(f"{where}: {kind} of {name} selects {selector}, pods have {labels}")
        for kind, wanted in (("ServiceAccount", pod["serviceAccountName"]), ("ConfigMap", name)):
            if (kind, wanted) not in found:
                problem(f"{where}: DaemonSet {name} names {kind} {wanted}, which is not there")
        config = found["ConfigMap", name]["data"]["agent.toml"]
        mounts = {mount["name"]: mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]}
        for volume in (v["name"] for v in pod["volumes"] if "hostPath" in v):
            if f'"{mounts[volume]}' not in config:
                problem(f"{where}: the agent's configuration has nothing in {mounts[volume]}")
        if ':7484"' not in config:
            problem(f"{where}: the agent's configuration has no port 7484 for admin")


def check_references(where, found):
    """Names, labels and ports that objects take from each other."""
    check_gateways(where, found)
    check_agents(where, found)
    kinds = lambda kind: [o for (k, _), o in found.items() if k == kind]
    for stateful in kinds("StatefulSet"):
        name, spec = stateful["metadata"]["name"], stateful["spec"]
        pod, labels = spec["template"]["spec"], spec["template"]["metadata"]["labels"]
        router = pod["containers"][0]
        if ("Service", spec["serviceName"]) not in found:
            problem(f"{where}: StatefulSet {name} names Service {spec['serviceName']}, which is not there")
        if ("ServiceAccount", pod["serviceAccountName"]) not in found:
            problem(f"{where}: StatefulSet {name} names a ServiceAccount that is not there")
        of_routers = lambda kind: [o for o in kinds(kind) if not o["metadata"]["name"].endswith(("-gateway", "-agent"))]
        selectors = [(o["kind"], o["spec"]["selector"]) for o in of_routers("Service")]
        selectors += [(o["kind"], o["spec"]["selector"]["matchLabels"]) for o in of_routers("PodDisruptionBudget")]
        policies = [o for o in kinds("NetworkPolicy") if o["metadata"]["name"] == name]
        selectors += [(o["kind"], o["spec"]["podSelector"]["matchLabels"]) for o in policies]
        selectors += [("spread", c["labelSelector"]["matchLabels"]) for c in pod["topologySpreadConstraints"]]
        selectors.append(("StatefulSet", spec["selector"]["matchLabels"]))
        for kind, selector in selectors:
            if not selector.items() <= labels.items():
                problem(f"{where}: {kind} selects {selector}, pods have {labels}")
        ports = {port["name"]: port for port in router["ports"]}
        for service in kinds("Service"):
            if service["spec"]["selector"].get("app.kubernetes.io/component") != "router":
                continue
            if service["spec"]["clusterIP"] != "None":
                problem(f"{where}: Service {service['metadata']['name']} has a cluster IP")
            for port in service["spec"]["ports"]:
                if ports.get(port["targetPort"], {}).get("containerPort") != port["port"]:
                    problem(f"{where}: Service port {port['name']} is no port of the router")
        volumes = {v["name"] for v in pod["volumes"]}
        for mount in router["volumeMounts"]:
            if mount["name"] not in volumes:
                problem(f"{where}: mount {mount['name']} has no volume")
        for volume in pod["volumes"]:
            if "configMap" in volume and ("ConfigMap", volume["configMap"]["name"]) not in found:
                problem(f"{where}: ConfigMap {volume['configMap']['name']} is not there")
        advertised = next(e["value"] for e in router["env"] if e["name"] == "MILLRACE_ADVERTISE")
        if f".{spec['serviceName']}." not in advertised:
            problem(f"{where}: {advertised} is not under {spec['serviceName']}")
        for scaler in kinds("HorizontalPodAutoscaler"):
            if scaler["spec"]["scaleTargetRef"]["name"] != name:
                problem(f"{where}: the autoscaler is for another StatefulSet")
        check_times(where, found, pod, router)
        cores = next(int(e["value"]) for e in router["env"] if e["name"] == "MILLRACE_CORES")
        if where in ("base", "prod") and router["resources"]["requests"]["cpu"] != str(cores):
            problem(f"{where}: {cores} cores, and {router['resources']['requests']['cpu']} CPUs are asked for")
    for certificate in kinds("Certificate"):
        issuer = certificate["spec"]["issuerRef"]
        if (issuer["kind"], issuer["name"]) not in found:
            problem(f"{where}: Certificate names {issuer['kind']} {issuer['name']}, which is not there")
        if certificate["spec"]["secretName"] == "millrace-tls":
            uris = certificate["spec"]["uris"]
            if not any(re.fullmatch(r"millrace://router/.+", uri) for uri in uris):
                problem(f"{where}: the routers' certificate has no URI of a router")
        if certificate["spec"]["secretName"] == "millrace-gateway-tls":
            if not all(uri.startswith("millrace://client/") for uri in certificate["spec"]["uris"]):
                problem(f"{where}: the gateway's certificate has no URI of a client")


def check_zones(where, found):
    """Every program takes its zone from the label that Kubernetes writes to pods."""
    label = {"fieldRef": {"fieldPath": "metadata.labels['topology.kubernetes.io/zone']"}}
    for (kind, name), given in found.items():
        if kind in ("StatefulSet", "Deployment", "DaemonSet"):
            env = given["spec"]["template"]["spec"]["containers"][0]["env"]
            if [one.get("valueFrom") for one in env if one["name"] == "MILLRACE_ZONE"] != [label]:
                problem(f"{where}: {kind} {name} has no zone of its pod's label")


def paths(value, at=""):
    """Keys of an object, and of what is in it."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield f"{at}.{key}"
            yield from paths(inner, f"{at}.{key}")
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from paths(inner, f"{at}[{number}]")


def check_cert_manager(where, found):
    """Objects of cert-manager, whose kinds no schema of Kubernetes has, by the models of its CRDs."""
    models = {"Certificate": Certificate, "Issuer": Issuer}
    for (kind, name), given in found.items():
        if given["apiVersion"] != "cert-manager.io/v1":
            continue
        try:
            known = models[kind].model_validate(given).model_dump(mode="json", by_alias=True, exclude_unset=True)
        except ValueError as error:
            problem(f"{where}: {kind} {name}: {error}")
            continue
        for unknown in sorted({*paths(given)} - {*paths(known)}):
            problem(f"{where}: {kind} {name}: cert-manager knows no {unknown[1:]}")


def check_times(where, found, pod, router):
    """The pause before the end, the grace, and a second for the rest fit into the pod's time."""
    texts = [o["data"]["router.toml"] for (k, _), o in found.items() if k == "ConfigMap" and "router.toml" in o["data"]]
    given = re.search(r'^grace = "(\d+)s"$', texts[0], re.MULTILINE)
    pause = int(router["lifecycle"]["preStop"]["exec"]["command"][1])
    # The router's default is 5 s.
    grace = int(given[1]) if given else 5
    if pause + grace + 1 > pod["terminationGracePeriodSeconds"]:
        problem(f"{where}: {pause} s + {grace} s do not fit into terminationGracePeriodSeconds")


def main():
    folder, chart = Path(sys.argv[1]), sys.argv[2]
    roots = {path.stem: objects(path.read_text()) for path in sorted(folder.glob("*.yaml"))}
    for name, found in roots.items():
        check_references(name, found)
        check_cert_manager(name, found)
    check_zones("prod", roots["prod"])
    other = check_chart(chart, roots["base"], roots["gateway"], roots["agent"])
    (folder.parent / "chart.yaml").write_text(yaml.safe_dump_all(other.values()))
    for text in problems:
        print(f"check.py: {text}", file=sys.stderr)
    print(f"{sum(map(len, roots.values()))} objects of {', '.join(roots)}, and the chart: {len(problems)} problems")
    sys.exit(1 if problems else 0)


main()
