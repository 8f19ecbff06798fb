# vlsearch: `make demo` and `make test` do all the set-up that they need.
SHELL := /bin/bash
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
DEMO_DIR ?= build/demo
PYTEST_ARGS ?=

export TF_CPP_MIN_LOG_LEVEL ?= 2

.PHONY: help setup demo test test-fast test-gpu lint format bench client lock clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

# --- set-up ------------------------------------------------------------------------------

setup: $(VENV)/.installed debian-packages ## environment in .venv, so that .venv/bin/vlsearch works

# The stamp holds until the lock or the project file changes.
$(VENV)/.installed: requirements.lock pyproject.toml
	@PYTHON="$(PYTHON)" bash scripts/setup_venv.sh $(VENV)
	@touch $@

.PHONY: debian-packages
debian-packages:
	@bash scripts/debian_packages.sh

.PHONY: browser
browser: # of the tests of the page, which are skipped where it cannot be installed
	@command -v chromium >/dev/null || bash scripts/install_debian.sh chromium || true

# --- the main path -----------------------------------------------------------------------

demo: setup ## emoji click log -> pipeline -> release -> search page
	@$(BIN)/python scripts/demo.py --dir "$(DEMO_DIR)"

test: setup browser ## all tests
	@$(BIN)/python scripts/run_tests.py $(PYTEST_ARGS)

test-fast: setup ## all tests but the slow ones
	@$(BIN)/python scripts/run_tests.py --fast $(PYTEST_ARGS)

test-gpu: setup ## distribution, bf16 and XLA tests on the GPUs that there are
	@$(BIN)/python scripts/test_gpu.py $(PYTEST_ARGS)

client: setup ## the wheel of vlsearch-client, in build/client
	@$(BIN)/python scripts/build_client.py

lint: setup ## ruff (lint and format) and mypy
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

format: setup ## rewrite to the house format
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: setup ## every benchmark, one JSON each under build/bench/
	@mkdir -p build/bench
	@failed=0; for script in benchmarks/[a-z]*.py; do \
	  name=$$(basename $$script .py); echo "== $$name"; \
	  $(BIN)/python $$script --json build/bench/$$name.json || failed=1; done; exit $$failed

lock: ## compile requirements.lock anew (needs uv; writes no addresses)
	uv pip compile pyproject.toml --all-extras --override requirements/overrides.txt \
	  --python-version 3.11 --no-annotate --no-header --no-emit-index-url -o requirements.lock

clean: ## remove build outputs (not the environment)
	rm -rf build
