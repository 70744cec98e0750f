# From a clean clone with Python 3.11 or newer, git and make: `make demo`.
PYTHON ?= python3
BIN := .venv/bin
SRC := src tests benchmarks

# On two cores two workers with one thread each are quicker than one worker with two threads.
WORKERS ?= 2
export OMP_NUM_THREADS ?= 1
# Tests start processes: none of them, nor the second run, is to compile everything again.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup demo test slow cluster lint lock clean

help:  ## this list
	@grep -hE '^[a-z]+:.*##' Makefile | sed -E 's/^([a-z]+):.*## */  make \1\t/'

setup: .venv/stamp  ## the locked packages and latentsr itself, into .venv

.venv/stamp: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "latentsr needs Python 3.11 or newer, this is " + sys.version.split()[0] + ": make setup PYTHON=python3.11")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet "uv>=0.8"
	$(BIN)/uv pip install --python $(BIN)/python --compile-bytecode --require-hashes -r requirements.lock
	$(BIN)/uv pip install --python $(BIN)/python --no-deps --no-build-isolation -e .
	@touch $@

demo: setup  ## a real MR image enlarged four times, into demo/
	$(BIN)/latentsr demo -o demo

test: setup  ## the tests, about ten minutes on two cores
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m "not slow and not cluster"

slow: setup  ## the tests marked slow: simulations, and more places at which a training is killed
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m slow

cluster: setup  ## the tests on a Ray cluster of this machine; for one that is idle
	$(BIN)/python -m pytest -n 0 -m cluster

lint: setup  ## ruff, mypy and vulture
	$(BIN)/ruff check $(SRC)
	$(BIN)/ruff format --check $(SRC)
	$(BIN)/mypy
	$(BIN)/vulture

lock:  ## requirements.lock anew from pyproject.toml (needs the network)
	$(BIN)/uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --generate-hashes --upgrade \
	    --no-emit-index-url --no-emit-find-links --no-annotate --no-header --quiet -o requirements.lock

clean:  ## removes what make and the tools made, .venv included
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis demo demo.run dist
	find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
