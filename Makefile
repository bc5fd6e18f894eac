# What a developer does, one word each: `make help` lists them. Everything happens in .venv, which is made when it is missing.
PYTHON ?= python3
BIN := .venv/bin
BENCHMARKS := $(patsubst benchmarks/%.py,benchmarks.%,$(filter-out %/__init__.py,$(wildcard benchmarks/*.py)))

.DEFAULT_GOAL := help
.PHONY: help .venv test lint demo docs bench clean

help:  ## this list
	@grep -hE '^[.a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([.a-z]+):.*## (.*)/make \1\t\2/' | expand -t 16

.venv: .venv/stamp  ## the environment, with exact versions; made again when pyproject.toml or constraints.txt change

.venv/stamp: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Diffident needs Python 3.11 or newer, $(PYTHON) is $$($(PYTHON) -V 2>&1); name a newer one: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

test: .venv/stamp  ## style, then the quick suite
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n auto

lint: .venv/stamp  ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

demo: .venv/stamp  ## learn from 300 pictures of ankle boots, judge a mixed delivery of 80
	rm -rf demo
	@echo "-- learning what a good boot looks like, from examples/fashion/good"
	$(BIN)/diffident train examples/fashion/good --network none -o demo/boots
	@echo "-- judging a delivery of 40 boots and 40 other things, examples/fashion/incoming"
	$(BIN)/diffident score demo/boots examples/fashion/incoming -o demo/scores.csv
	@echo "-- every verdict: demo/scores.csv; what each picture really shows: examples/fashion/incoming.csv"

docs: .venv/stamp  ## the pages that the program tells itself: statistics, recipes, commands, errors, the README's figures
	$(BIN)/python scripts/make_docs.py

bench: .venv/stamp  ## every benchmark, one after the other, freezing its figures in benchmarks/results (long)
	@for name in $(BENCHMARKS); do echo "-- $$name"; $(BIN)/python -m $$name || exit 1; done

clean:  ## remove what these commands have made, the environment too
	rm -rf .venv demo build dist .pytest_cache .ruff_cache .hypothesis
	find src tests benchmarks examples scripts -name __pycache__ -type d -prune -exec rm -rf {} +
