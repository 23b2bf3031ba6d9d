#!/usr/bin/env bash
# The peers of bench/judge.py, each in an environment of its own: evalplus' checker and verl's prime_code.
set -euo pipefail
cd "$(dirname "$0")/../.."
for peer in evalplus verl; do
    place=.bench/judge-$peer
    test -e "$place/.ready" && continue
    "${PYTHON:-python3}" -m venv "$place"
    if [ $peer = evalplus ]; then
        "$place/bin/python" -m pip install --quiet --disable-pip-version-check evalplus==0.3.1
    else # the checker needs numpy alone; all of verl would bring a GPU stack
        "$place/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps verl==0.9.1
        "$place/bin/python" -m pip install --quiet --disable-pip-version-check numpy
    fi
    touch "$place/.ready"
done
