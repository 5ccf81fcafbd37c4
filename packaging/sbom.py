"""The bill of materials of what is packaged, as CycloneDX 1.5 (JSON): `sbom.py PACKAGE… >FILE`.

Every crate that the programs are built from, with its version, licence and the checksum of
Cargo.lock. Crates that only build others have the scope `excluded`. The same commit gives the same
bytes.
"""

import datetime
import json
import os
import subprocess
import sys
import uuid


def metadata():
    """What Cargo resolves for this platform, from Cargo.lock alone."""
    rustc = subprocess.run(["rustc", "-vV"], capture_output=True, text=True, check=True).stdout
    host = next(line.split()[1] for line in rustc.splitlines() if line.startswith("host:"))
    command = ["cargo", "metadata", "--format-version=1", "--locked", f"--filter-platform={host}"]
    return json.loads(subprocess.run(command, capture_output=True, check=True).stdout)


def checksums(root):
    """Name and version to the checksum in Cargo.lock."""
    found, entry = {}, {}
    with open(os.path.join(root, "Cargo.lock"), encoding="utf-8") as lock:
        for line in lock:
            key, _, value = line.strip().partition(" = ")
            if line.startswith("[[package]]"):
                entry = {}
            elif value:
                entry[key] = value.strip('"')
            if key == "checksum":
                found[entry["name"], entry["version"]] = entry["checksum"]
    return found


def reached(nodes, roots):
    """Ids of packages that the roots are built from, to whether they are part of the programs."""
    found = {}
    left = [(root, True) for root in roots]
    while left:
        package, is_part = left.pop()
        if found.get(package, False) or (package in found and not is_part):
            continue
        found[package] = is_part
        for dependency in nodes[package]["deps"]:
            kinds = {kind["kind"] for kind in dependency["dep_kinds"]}
            if None in kinds:
                left.append((dependency["pkg"], is_part))
            elif "build" in kinds:
                left.append((dependency["pkg"], False))
    return found


def reference(package):
    return f"pkg:cargo/{package['name']}@{package['version']}"


def component(package, is_part, sums):
    made = {
        "type": "library",
        "bom-ref": reference(package),
        "name": package["name"],
        "version": package["version"],
        "scope": "required" if is_part else "excluded",
        "purl": reference(package),
    }
    if package["license"]:
        # Some crates still write the slash of old.
        made["licenses"] = [{"expression": package["license"].replace("/", " OR ")}]
    if checksum := sums.get((package["name"], package["version"])):
        made["hashes"] = [{"alg": "SHA-256", "content": checksum}]
    return made


def main():
    cargo = metadata()
    packages = {package["id"]: package for package in cargo["packages"]}
    nodes = {node["id"]: node for node in cargo["resolve"]["nodes"]}
    ours = {packages[id]["name"]: id for id in cargo["workspace_members"]}
    roots = [ours[name] for name in sys.argv[1:]]
    found = reached(nodes, roots)
    sums = checksums(cargo["workspace_root"])
    version = packages[roots[0]]["version"]
    epoch = int(os.environ.get("SOURCE_DATE_EPOCH", "0"))
    components = [component(packages[id], is_part, sums) for id, is_part in found.items()]
    components.sort(key=lambda one: (one["name"], one["version"]))
    dependencies = [
        {
            "ref": reference(packages[id]),
            "dependsOn": sorted({reference(packages[one["pkg"]]) for one in nodes[id]["deps"] if one["pkg"] in found}),
        }
        for id in found
    ]
    product = f"pkg:generic/millrace@{version}"
    dependencies.append({"ref": product, "dependsOn": sorted(reference(packages[id]) for id in roots)})
    bill = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "timestamp": datetime.datetime.fromtimestamp(epoch, datetime.timezone.utc).isoformat(),
            "component": {"type": "application", "bom-ref": product, "name": "millrace", "version": version},
        },
        "components": components,
        "dependencies": sorted(dependencies, key=lambda one: one["ref"]),
    }
    # A name for these very contents.
    bill["serialNumber"] = f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, json.dumps(bill))}"
    json.dump(bill, sys.stdout, indent=1)
    print()


main()
