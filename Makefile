# Every target is one command; PYTHON may name another interpreter (>= 3.11).
PYTHON ?= python3
# Where torch comes from, as pytorch.org gives it for your machine; empty: the usual index.
TORCH_INDEX ?=
BIN := .venv/bin
export OMP_NUM_THREADS ?= 1

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-all check reproduce speed gpu results nano clean

help: ## Show this help
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

setup: $(BIN)/.ready ## Make .venv with the pinned dependencies

$(BIN)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("clo needs Python 3.11 or newer" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) torch -c constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]' -c constraints.txt
	touch $@

demo: setup ## Train the baselines and CLO for Swahili and write a report (about a minute)
	$(BIN)/python train.py study=demo
	$(BIN)/clo report study=demo

test: check ## Run every test that needs no GPU
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow and not gpu"

test-all: check ## Run the slow tests too
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not gpu"

check: setup ## Lint, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

reproduce: setup ## Run the paper's grid at nano scale and write its report
	$(BIN)/python train.py study=paper
	$(BIN)/clo report study=paper

speed: setup ## Time and weigh our steps against TRL's (about half an hour of a quiet machine)
	$(BIN)/python -m speed.all

gpu: setup ## Measure ours and TRL on this machine's GPU, after the tests that need one (about ten minutes)
	$(BIN)/python -m speed.gpu --write

results: setup ## Write the tables of README.md and docs/ again from docs/data
	$(BIN)/python -m clo.report.docs docs

nano: setup ## Build the embedded start model again from its data and seed
	$(BIN)/python -m clo.nano.build

clean: ## Remove outputs and caches (not .venv)
	rm -rf outputs .cache build dist *.egg-info
