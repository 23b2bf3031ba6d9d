#!/usr/bin/env bash
# What bench/dedup.py compares with, under .bench/dedup: datasketch, and what datatrove's own signatures need (spaCy's
# tokenizer, xxhash). rensa and datatrove come with openmimo[data]. Safe to repeat; about 1 minute and 300 MB once.
set -euo pipefail
cd "$(dirname "$0")/../.."
if ! test -e .bench/dedup/.ready; then
  mkdir -p .bench/dedup
  "${PYTHON:-.venv/bin/python}" -m pip install --quiet --disable-pip-version-check --target .bench/dedup \
    "datasketch==2.0.0" "spacy==3.8.7" "xxhash==3.6.0"
  touch .bench/dedup/.ready
fi
