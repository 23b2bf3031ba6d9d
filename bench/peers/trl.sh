#!/usr/bin/env bash
# What bench/grpo_peer.py compares with, under .bench/: TRL in an environment of its own. Safe to repeat.
set -euo pipefail
cd "$(dirname "$0")/../.."
mkdir -p .bench
if ! test -e .bench/trl/.ready; then
  "${PYTHON:-python3}" -m venv .bench/trl
  .bench/trl/bin/python -m pip install --quiet --disable-pip-version-check --index-url https://download.pytorch.org/whl/cpu torch ||
    .bench/trl/bin/python -m pip install --quiet --disable-pip-version-check torch
  .bench/trl/bin/python -m pip install --quiet --disable-pip-version-check trl
  touch .bench/trl/.ready
fi
