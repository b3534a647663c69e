#!/usr/bin/env bash
# Install Cairn for `cairn serve`: into an image, or into a machine.
#
#   deploy/install.sh dependencies   all that it needs; reads pyproject.toml and constraints.txt alone,
#                                    so that an image keeps this layer when only code has changed
#   deploy/install.sh cairn          itself; reads the packages
#   deploy/install.sh list           print what `dependencies` installs
#
# VIRTUAL_ENV says where to (/opt/cairn), COMPUTE what computes: cpu (default), cuda, or graph: a
# CPU, without torch, for runs that their exported graph describes and SIFT verifies. Indexes of
# packages are pip's own: with PIP_EXTRA_INDEX_URL set to one of torch's CPU builds, pip takes what
# the constraints allow from there, without the 4 GB for CUDA that the default builds bring.
set -euo pipefail
cd "$(dirname "$0")/.."

target=${VIRTUAL_ENV:-/opt/cairn}
compute=${COMPUTE:-cpu}
export PIP_CONSTRAINT=constraints.txt PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1

case $compute in
cpu | cuda | graph) ;;
*) echo "COMPUTE is '$compute'; it is cpu, cuda or graph" >&2 && exit 2 ;;
esac

list() {
    COMPUTE=$compute python3 - <<'PY'
import os
import re
import tomllib

OF_TORCH = {"captum", "lightning-fabric", "pytorch-metric-learning", "timm", "torch", "torchvision"}

with open("pyproject.toml", "rb") as file:
    project = tomllib.load(file)["project"]
wanted = list(project["dependencies"])
for extra in ("openvino", "serve"):
    wanted += project["optional-dependencies"][extra]
if os.environ["COMPUTE"] == "graph":
    wanted = [each for each in wanted if re.split("[<>=!~]", each)[0] not in OF_TORCH]
if os.environ["COMPUTE"] == "cuda":  # of the same version: both are the module faiss
    with open("constraints.txt") as file:
        versions = dict(line.strip().split("==") for line in file)
    wanted = [each for each in wanted if not each.startswith("faiss-cpu")]
    wanted.append(f"faiss-gpu=={versions['faiss-cpu']}")
print(*wanted, sep="\n")
PY
}

case ${1:-} in
list) list ;;
dependencies)
    python3 -m venv "$target"
    list | "$target/bin/pip" install --requirement /dev/stdin
    ;;
cairn)
    "$target/bin/pip" install --no-deps .
    "$target/bin/cairn" --version
    ;;
*) echo "say what to do: deploy/install.sh dependencies, cairn or list" >&2 && exit 2 ;;
esac
