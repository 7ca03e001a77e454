# The one list of commands. Everything is installed into this folder: uv in .uv, environments in
# .venv and examples/*/.venv; nothing else on the machine changes.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
PYTHON ?= python3
UV_VERSION := 0.13.8
UV := .uv/bin/uv
EXAMPLE := examples/breast_cancer
RUN := $(UV) run --locked
PYTEST := -n 2 --dist loadgroup -q --durations=10

.PHONY: help install demo check test test-long bench soak format clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(UV):
	@echo "[$$(date +%T)] uv $(UV_VERSION) -> .uv (by pip, into this folder)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Bessemer needs Python 3.11 or newer, and $(PYTHON) is " + sys.version.split()[0] + ": make PYTHON=python3.x")'
	@$(PYTHON) -m pip install --quiet --disable-pip-version-check --root-user-action ignore --target .uv uv==$(UV_VERSION)

install: $(UV) ## uv, the locked environment, the example's locked environment
	@began=$$SECONDS; quiet=--quiet; [ ! -t 2 ] || quiet=; echo "[$$(date +%T)] bessemer and its tools -> .venv"; \
	$(UV) sync --locked $$quiet --compile-bytecode; \
	echo "[$$(date +%T)] the example's official SDKs (kfp, kserve, tritonclient) -> $(EXAMPLE)/.venv"; \
	$(UV) sync --locked $$quiet --compile-bytecode --project $(EXAMPLE); \
	echo "[$$(date +%T)] installed in $$((SECONDS - began)) s"

demo: install ## the main job: data, pipeline, model, canary endpoint (KEEP=1 leaves it running)
	@$(RUN) python scripts/demo.py $(if $(KEEP),--keep)

check: install ## ruff, format, mypy, import-linter
	$(RUN) ruff check
	$(RUN) ruff format --check
	$(RUN) mypy
	$(RUN) lint-imports --no-logo

test: check ## everything but the full counts of the long tests, < 10 min on 2 cores
	$(RUN) pytest -m "not long" $(PYTEST)

test-long: install ## fault and property tests with their full counts
	BESSEMER_LONG=1 $(RUN) pytest -m long $(PYTEST)

bench: install ## side-by-side measurements; JSON in benchmarks/results/
	$(RUN) python benchmarks/run.py $(BENCH)

soak: install ## MINUTES=30 of load, and whether memory, descriptors, threads and files come back
	@$(RUN) python benchmarks/soak.py --minutes $(or $(MINUTES),30)

format: install ## rewrite the sources as check wants them
	$(RUN) ruff check --fix
	$(RUN) ruff format

clean: ## delete what was installed and made here; not while a Bessemer runs from it
	@if running=$$(pgrep -f "^$(CURDIR)/.venv/bin/python[^ ]* [^ ]*bessemer up"); then \
	  echo "error: make clean takes the program away from a Bessemer that runs from here (pid" $$running"), which then nobody can end well; end it with \`.venv/bin/bessemer down\` (and the --home it runs on) first" >&2; exit 1; fi
	rm -rf .uv .venv $(EXAMPLE)/.venv .bessemer .mypy_cache .ruff_cache .pytest_cache .hypothesis
