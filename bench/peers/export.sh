#!/usr/bin/env bash
# What bench/export.py loads our exports with: verl, TRL, verifiers from PyPI, and slime's and open-instruct's sources, in
# an environment of their own (torch and transformers come from .venv). Safe to repeat.
set -euo pipefail
cd "$(dirname "$0")/../.."
mkdir -p .bench
test -e .bench/export/.ready && exit 0
"${PYTHON:-python3}" -m venv .bench/export
python=.bench/export/bin/python
.venv/bin/python -c "import torch; print(torch.__path__[0].rsplit('/', 1)[0])" >"$($python -c 'import site; print(site.getsitepackages()[0])')/torch.pth"
$python -m pip install --quiet --disable-pip-version-check datasets accelerate verifiers==0.1.14 omegaconf hydra-core codetiming \
  ray pylatexenc langdetect fastapi immutabledict nltk beaker-py wandb litellm
$python -m pip install --quiet --disable-pip-version-check --no-deps trl==1.16.0 verl==0.9.1 tensordict==0.10.0
$python -m pip install --quiet --disable-pip-version-check --no-deps --target .bench/export-antlr antlr4-python3-runtime==4.11.1
for repository in THUDM/slime allenai/open-instruct; do
  place=.bench/export-${repository##*/}
  test -e "$place" || git clone --quiet --depth 1 "https://github.com/$repository" "$place"
done
touch .bench/export/.ready
