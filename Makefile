# A fresh machine needs only Python 3.11 or newer and make: `make demo`, `make test`.
# The first target that needs it makes .venv and installs kernpot there, in editable mode, with the tested versions.

PYTHON ?= python3
VENV ?= .venv
WORKERS ?= 2
PYTEST_OPTIONS ?=
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --constraint constraints.txt

# One thread per process: the tests run in parallel processes, and sums come out the same on every run.
export OMP_NUM_THREADS := 1
export MPLBACKEND := Agg

.PHONY: help demo test test-slow test-all coverage lint format docs paper data release oldest clean
.DEFAULT_GOAL := help

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 24

# Stamps: an install is repeated only when what it reads has changed.
$(VENV)/installed: pyproject.toml constraints.txt kernpot/__init__.py
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -c "import sys; sys.exit(sys.version_info < (3, 11) and 'kernpot needs Python 3.11 or newer: make PYTHON=python3.11 ...')"
	$(PIP) --editable '.[test]'
	touch $@

$(VENV)/installed-lint: $(VENV)/installed
	$(PIP) --editable '.[lint]'
	touch $@

$(VENV)/installed-docs: $(VENV)/installed
	$(PIP) --editable '.[docs]'
	touch $@

$(VENV)/installed-release: $(VENV)/installed
	$(PIP) --editable '.[release]'
	touch $@

$(VENV)/installed-data: $(VENV)/installed
	$(PIP) --editable '.[data]'
	touch $@

demo: $(VENV)/installed ## fit the carried data, show errors and coverage, write a report
	$(BIN)/kernpot demo

test: $(VENV)/installed ## all tests but the slow ones
	$(BIN)/python -m pytest -m "not slow" -n $(WORKERS)

test-slow: $(VENV)/installed ## the slow tests
	$(BIN)/python -m pytest -m slow -n $(WORKERS)

test-all: $(VENV)/installed ## both
	$(BIN)/python -m pytest -n $(WORKERS) $(PYTEST_OPTIONS)

coverage: $(VENV)/installed ## all tests but the slow ones, and how many lines and branches of kernpot/ they reach
	$(BIN)/python -m pytest -m "not slow" -n $(WORKERS) --cov --cov-report=term:skip-covered

lint: $(VENV)/installed-lint ## ruff (rules and format) and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/installed-lint ## let ruff mend and format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/installed-docs ## build the documentation into site/; a warning is an error (--quiet would hide it)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

paper: $(VENV)/installed ## figures, texts and PDFs of the paper from the stored measurements
	$(BIN)/python paper/build.py --pdf

data: $(VENV)/installed-data ## compute examples/data anew (a few minutes) and check it
	$(BIN)/python examples/data/generate.py --force
	$(BIN)/python examples/data/check.py

release: $(VENV)/installed-release ## wheel and sdist in dist/, checked; the demo runs from the wheel alone
	PYTHON=$(BIN)/python .ci/release

oldest: ## one fit and the demo with the oldest versions that pyproject.toml promises
	PYTHON=$(PYTHON) .ci/oldest

clean: ## remove the environment and everything that was built
	rm -rf $(VENV) site build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage
