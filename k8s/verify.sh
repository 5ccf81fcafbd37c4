#!/usr/bin/env bash
# Checks the manifests without a cluster: Kustomize renders them, schemas of two Kubernetes versions
# accept them (strictly), the chart renders the same objects, and the router accepts the ConfigMap.
#
#   k8s/verify.sh [--policies]     --policies: checkov, too (a large download)
#
# BIN: folder of millrace-router, millrace-gateway, millrace-agent and millrace; without it, ConfigMaps are not judged.
# MILLRACE_KUBECONFIG: a cluster that judges them, too: every root in a dry run, then every overlay for real, twice, the
# second time without a change; and all of it is deleted. A cluster that has one of the overlays' namespaces is left alone.
# Needs Python 3.10 or later with venv; everything else goes into a temporary folder.
set -euo pipefail
cd "$(dirname "$0")"
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
versions=(1.29 1.37)
roots=(base=base gateway=gateway agent=agent dev=overlays/dev bench=overlays/bench prod=overlays/prod)

python3 -m venv "$out/venv"
pip() { "$out/venv/bin/pip" install --quiet --no-input --disable-pip-version-check "$@"; }
pip --requirement requirements.txt
mkdir "$out/rendered"
for root in "${roots[@]}"; do
    "$out/venv/bin/kubectl" kustomize "${root#*=}" >"$out/rendered/${root%%=*}.yaml"
done
# It leaves what the chart renders with other values in chart.yaml.
PYTHONDONTWRITEBYTECODE=1 "$out/venv/bin/python" check.py "$out/rendered" chart

for version in "${versions[@]}"; do
    # Objects of cert-manager have no schema there.
    "$out/venv/bin/kubernetes-validate" --strict --quiet --no-warn -k "$version" "$out"/rendered/*.yaml "$out/chart.yaml"
    echo "strict schemas of Kubernetes $version: accepted"
done

if [[ -n ${BIN:-} ]]; then
    certs=(env -u MILLRACE_CERTS "$BIN/millrace" certs --dir "$out/certs")
    "${certs[@]}" init >/dev/null
    "${certs[@]}" router millrace --san '*.millrace-mesh.default.svc.cluster.local' >/dev/null
    # As a pod starts it, but for the folders of the Secrets.
    env MILLRACE_ADVERTISE=millrace-0.millrace-mesh.default.svc.cluster.local:7400 MILLRACE_CORES=2 \
        MILLRACE_NAME=millrace-0 MILLRACE_SEEDS=millrace-mesh.default.svc.cluster.local:7400 \
        "$BIN/millrace-router" --config base/router.toml --set tls.require_client_certificate=false --check \
        --cert "$out/certs/router-millrace.pem" --key "$out/certs/router-millrace.key" \
        --ca "$out/certs/ca.pem" --secret "$out/certs/cluster.secret"
    echo "millrace-router accepts the ConfigMap"
    # The same for the gateway, with its files in another place.
    "${certs[@]}" client gateway >/dev/null
    head -c 24 /dev/urandom | base64 >"$out/default"
    sed "s,/etc/millrace/tokens,$out," gateway/gateway.toml >"$out/gateway.toml"
    env MILLRACE_ROUTER=millrace.default.svc.cluster.local:7400 "$BIN/millrace-gateway" --config "$out/gateway.toml" \
        --ca "$out/certs/ca.pem" --cert "$out/certs/client-gateway.pem" --key "$out/certs/client-gateway.key" --check
    echo "millrace-gateway accepts the ConfigMap"
    "${certs[@]}" client agent >/dev/null
    env MILLRACE_ROUTER=millrace.default.svc.cluster.local:7400 MILLRACE_AGENT_FQDN=node-1 \
        "$BIN/millrace-agent" --config agent/agent.toml --ca "$out/certs/ca.pem" \
        --cert "$out/certs/client-agent.pem" --key "$out/certs/client-agent.key" --check
    echo "millrace-agent accepts the ConfigMap"
else
    echo "SKIPPED, needs BIN: --check of the ConfigMaps"
fi

if [[ ${1:-} == --policies ]]; then
    pip checkov
    # CKV_K8S_11  no CPU limit: a throttled core holds up all of its connections (README.md)
    # CKV_K8S_15  pull policy: tags of releases do not move; installations that differ pin a digest
    # CKV_K8S_43  digest: the registry that an image is pushed to decides it; set it in an overlay
    # CKV_K8S_21  the base has no namespace, so that overlays choose one
    # CKV_K8S_23, CKV_K8S_40  the agent alone is root: its folders are the node's, which the kubelet makes for root
    exceptions=CKV_K8S_11,CKV_K8S_15,CKV_K8S_43,CKV_K8S_21
    judge() {
        "$out/venv/bin/checkov" --framework kubernetes --compact --quiet --skip-download "$@"
    }
    mkdir "$out/root"
    mv "$out/rendered/agent.yaml" "$out/root"
    judge --directory "$out/rendered" --skip-check "$exceptions"
    judge --directory "$out/root" --skip-check "$exceptions,CKV_K8S_23,CKV_K8S_40"
    mv "$out/root/agent.yaml" "$out/rendered"
    echo "policies of checkov: kept"
fi

if [[ -n ${MILLRACE_KUBECONFIG:-} ]]; then
    kubectl() { "$out/venv/bin/kubectl" --kubeconfig "$MILLRACE_KUBECONFIG" "$@"; }
    overlays=(dev bench prod)
    for overlay in "${overlays[@]}"; do
        namespace=$(sed -n 's/^namespace: //p' "overlays/$overlay/kustomization.yaml")
        if [[ $(kubectl get namespace "$namespace" --ignore-not-found --output name) ]]; then
            echo "the cluster has a namespace $namespace: give one in which nothing is lost" >&2
            exit 1
        fi
    done
    for root in base gateway agent; do
        kubectl --namespace default apply --server-side --dry-run=server --filename "$out/rendered/$root.yaml"
    done
    trap 'for overlay in "${overlays[@]}"; do kubectl delete --ignore-not-found --wait=false --filename "$out/rendered/$overlay.yaml"; done; rm -rf "$out"' EXIT
    for overlay in "${overlays[@]}"; do
        # What is in a namespace can be judged once the namespace is there.
        kubectl apply --filename "overlays/$overlay/namespace.yaml"
        kubectl apply --server-side --dry-run=server --force-conflicts --filename "$out/rendered/$overlay.yaml" >/dev/null
        kubectl apply --filename "$out/rendered/$overlay.yaml" >/dev/null
        kubectl apply --filename "$out/rendered/$overlay.yaml" >"$out/second"
        if grep -v ' unchanged$' "$out/second"; then
            echo "$overlay: applied a second time, it changes what stands above" >&2
            exit 1
        fi
        echo "$overlay: applied, and applied again without a change: $(wc -l <"$out/second") objects"
    done
fi
