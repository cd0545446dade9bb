# Two commands do all set-up on a fresh machine with git, make and python3 (3.11 or later, with venv):
#   make run    makes .venv, installs the pinned packages, starts the relay on embedded SQLite
#   make test   installs the test packages and runs everything, a real PostgreSQL included
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check --quiet

.DEFAULT_GOAL := help
.PHONY: help run test test-all lint types arrows unit lock bench clean

help:            ## show this list
	@grep -E '^[a-z-]+: .*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 12

run: $(VENV)/.run        ## install what the relay needs and start it (SQLite, loopback ports 2525 and 8025)
	$(BIN)/stagepost serve

test: $(VENV)/.test lint types arrows unit        ## lint, types, arrows, tests (under 10 minutes)

test-all: $(VENV)/.test lint types arrows        ## the same with the tests that take minutes
	$(BIN)/python -m pytest -n auto --dist worksteal -m "long or not long"

lint: $(VENV)/.test        ## ruff: format and rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(VENV)/.test        ## mypy strict over packages, tests and bench
	$(BIN)/mypy

arrows: $(VENV)/.test        ## the import contracts of pyproject.toml
	$(BIN)/lint-imports

unit: $(VENV)/.test        ## the tests alone
	$(BIN)/python -m pytest -n auto --dist worksteal -m "not long"

lock:            ## write the two lock files anew (needs uv)
	uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --no-annotate --no-header --quiet --extra build --extra test --output-file requirements-test.lock
	uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --no-annotate --no-header --quiet --extra build --constraint requirements-test.lock --output-file requirements.lock

bench: $(VENV)/.test        ## measure everything on a quiet machine (half an hour) and write bench/RESULTS.md
	$(BIN)/python -m bench.all

clean:           ## remove what the targets made
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis build dist

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run: requirements.lock pyproject.toml | $(VENV)/bin/python
	$(PIP) install --require-hashes --requirement requirements.lock
	$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.test: requirements-test.lock pyproject.toml | $(VENV)/bin/python
	$(PIP) install --require-hashes --requirement requirements-test.lock
	$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@
