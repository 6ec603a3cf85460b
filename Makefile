# `make demo` and `make test` do all set-up themselves; everything they make is in .venv, demo-run and the user's cache.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/pip install --quiet --constraint constraints.txt
# Tests that run at once; each takes one core and up to 2 GB of memory.
WORKERS ?= 2
# Each worker begins with its part of the files. One that has finished takes over the second half of what another has
# still to do, so that what the tests of a file share is made once for nearly every file, and all work until the end.
PYTEST := $(BIN)/python -m pytest -q -n $(WORKERS) --dist worksteal
# Compiled modules are kept, also where the environment says otherwise: every worker and every process that a test starts
# would compile the tests or the package again.
export PYTHONDONTWRITEBYTECODE :=
.PHONY: demo test test-fast test-nightly fuzz lint bench bench-gpu docs schema install install-all

demo: install
	$(BIN)/biasunlearn demo

# Linters and all tests but the exhaustive ones. Tests in a browser are skipped, with a line that says so, unless
# .ci/browser has run.
test: lint
	$(PYTEST)

# A cross-section of every package in about 85 seconds on two cores, for the time between two edits.
test-fast: install-all
	$(PYTEST) -m "not slow and not browser"

# What takes hours: the property tests with new random examples, and many more of them (see tests/conftest.py), and every
# variant of what `make test` covers by kind: all states in which a kill can leave a run, all changes of a run folder.
test-nightly: install-all
	HYPOTHESIS_PROFILE=nightly $(PYTEST) --exhaustive -m "hypothesis or exhaustive"

# Mutated inputs for every reader; another SEED makes other ones. Exit code 1 if one broke, hung or was wrongly accepted.
MINUTES ?= 60
SEED ?= 0
fuzz: install-all
	$(BIN)/python -m tests.fuzz --minutes $(MINUTES) --seed $(SEED)

lint: install-all
	$(BIN)/ruff check src tests perf examples
	$(BIN)/mypy
	$(BIN)/vulture

# make bench MODELS="gpt2-small gpt2-medium /path/to/model" STEREOSET=dev.json BENCH="--runs 3 --fewer 4"
MODELS ?= gpt2-small
bench: install
	$(BIN)/python perf/bench.py --models $(MODELS) $(if $(STEREOSET),--stereoset $(STEREOSET)) $(BENCH)

# Scoring and training steps on a CUDA card, random weights, no network, at most 8 minutes. BENCH="--tiny" tries it on a CPU.
bench-gpu: install
	$(BIN)/python perf/bench_gpu.py $(BENCH)

docs: install-all
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

# The JSON Schema of results.json, after a change of the types in src/biasunlearn/runs.
schema: install
	$(BIN)/python -c "from biasunlearn.runs.results import write_json_schema; write_json_schema()"

install: .venv/installed

install-all: .venv/installed-all

# The package alone, for the demo; the second adds every extra that a test needs and pip can install.
.venv/installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(PIP) torch
	$(PIP) --editable .
	touch $@

.venv/installed-all: .venv/installed
	$(PIP) --editable '.[all-tests]'
	touch $@
