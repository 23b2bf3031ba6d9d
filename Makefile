# make demo   the whole recipe on this machine (under 15 minutes on two cores), after setting up
# make test   the test suite (a few minutes);  make prove   the issue rows in full (longer)
# make setup  only sets up .venv; safe to repeat;  make bench-peers   what the benchmarks compare with, under .bench/
PYTHON ?= python3
BIN := .venv/bin

.PHONY: setup demo smoke test prove lint bench-peers clean

setup: .venv/.ready

.venv/.ready: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt setuptools
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --no-build-isolation --editable '.[dev]'
	touch $@

demo: setup
	$(BIN)/openmimo run recipes/tiny.toml

smoke: setup
	$(BIN)/openmimo run recipes/smoke.toml

test: setup
	$(BIN)/python -m pytest -n 2

prove: setup
	$(BIN)/python -m pytest -m proof

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

bench-peers: setup
	failed=; for script in bench/peers/*.sh; do bash "$$script" || failed="$$failed $$script"; done; \
	if [ -n "$$failed" ]; then echo "not made:$$failed; the others are there"; exit 1; fi

clean:
	rm -rf .venv .bench runs build dist *.egg-info
