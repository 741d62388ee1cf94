# Every target makes and fills .venv by itself; there is no other set-up step.
# PYTHON names the interpreter to make it with (3.11 or newer).

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help demo test lint bench mutants notebooks image clean

help: ## show the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(READY) ## an embedded cluster runs examples/shop.compose.yaml, explains it and cleans up
	@$(BIN)/cube demo

test: $(READY) image ## all tests, with branch coverage
	@$(BIN)/python -m pytest --numprocesses auto --cov --cov-report=term

lint: $(READY) ## formatting, style, types and the direction of imports
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Takes half an hour: the whole of c1m is in it. CI runs the gate alone.
bench: $(READY) ## what things cost; the numbers go to benchmarks/, the tables to docs/benchmarks.md
	@mkdir -p runs
	@$(BIN)/python -m pytest benchmarks --benchmark-json=runs/bench.json
	@$(BIN)/python benchmarks/placement.py --nodes 100,1000,10000,100000 --out benchmarks/placement.json
	@$(BIN)/python benchmarks/simulation.py c1m --out benchmarks/simulation.json
	@$(BIN)/python benchmarks/simulation.py c1m --tasks 100000 --nodes 1000,10000 --out benchmarks/scaling.json
	@$(BIN)/python benchmarks/tables.py

notebooks: $(READY) ## carry out the notebooks and keep what they show
	@$(BIN)/python notebooks/execute.py

# Takes most of an hour; `runs/mutants.jsonl` keeps every verdict, so it may be cut off and go on.
mutants: $(READY) ## plant bugs into the cores, see that they are noticed, write the tables into docs/
	@$(BIN)/python -m tests.mutants named
	@$(BIN)/python -m tests.mutants generated
	@$(BIN)/python -m tests.mutants tables

# Where a Docker engine answers, the tests need an image that no registry has to serve.
image:
	@if docker info >/dev/null 2>&1; then tests/engine/busybox_image.sh; fi

clean: ## remove what the other targets made
	rm -rf $(VENV) runs .coverage* .hypothesis .mypy_cache .ruff_cache .import_linter_cache

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Cube needs Python 3.11 or newer; name one: make PYTHON=python3.12 ..." >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || \
	  { rm -rf $(VENV); echo "cannot make $(VENV); is the venv module installed?" >&2; exit 1; }
	@echo "filling $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@
