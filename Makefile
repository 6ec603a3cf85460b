# `make demo` and `make test` do all set-up themselves; everything they make is in .venv, demo-run and the user's cache.
PYTHON ?= python3
BIN := .venv/bin
.PHONY: demo test bench docs install

demo: install
	$(BIN)/biasunlearn demo

test: install
	$(BIN)/ruff check src tests
	$(BIN)/mypy
	$(BIN)/python -m pytest -q

# make bench MODELS="gpt2-small gpt2-medium /path/to/model" STEREOSET=dev.json BENCH="--runs 3 --fewer 4"
MODELS ?= gpt2-small
bench: install
	$(BIN)/python perf/bench.py --models $(MODELS) $(if $(STEREOSET),--stereoset $(STEREOSET)) $(BENCH)

docs: install
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[docs]'
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

install: .venv/installed

.venv/installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt torch
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch .venv/installed
