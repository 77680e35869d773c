# Every target is one command; PYTHON may name another interpreter (>= 3.11).
PYTHON ?= python3
# Where torch comes from, as pytorch.org gives it for your machine; empty: the usual index.
TORCH_INDEX ?=
BIN := .venv/bin
export OMP_NUM_THREADS ?= 1
# Of `make reproduce` and `make plan`: conf/scale, conf/preset, and words for every study (WITH="lang=sw jobs=1").
SCALE ?= nano
PRESET ?=
WITH ?=
STUDIES := main_grid data_efficiency ablation_nll ablation_tuning memory rerun
WORDS = scale=$(SCALE) $(if $(PRESET),preset=$(PRESET)) $(WITH)

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-all check reproduce plan speed gpu results nano docs clean

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

reproduce: setup ## Run the paper's tables and figures at nano scale and report them (PRESET=quick: minutes)
	@failed=0; for study in $(STUDIES); do \
	  $(BIN)/python train.py study=$$study $(WORDS) || { code=$$?; [ $$code -lt 128 ] || exit $$code; failed=1; }; done; \
	for study in paper rerun; do \
	  $(BIN)/clo report study=$${study}_$(SCALE) $(if $(PRESET),output_dir=outputs/$(PRESET)) || failed=1; done; \
	exit $$failed

plan: setup ## Say what `make reproduce` would need, and train nothing (SCALE=paper)
	@for study in $(STUDIES); do $(BIN)/clo plan study=$$study $(WORDS) || true; done

speed: setup ## Time and weigh our steps against TRL's (half an hour to an hour of a quiet machine)
	$(BIN)/python -m speed.all

gpu: setup ## Measure ours and TRL on this machine's GPU, after the tests that need one (about half an hour)
	$(BIN)/python -m speed.gpu --write

results: setup ## Write the tables of README.md and docs/ again from docs/data
	$(BIN)/python -m clo.report.docs docs

docs: setup ## Build the site of docs/ and the docstrings into build/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

nano: setup ## Build the embedded start model again from its data and seed
	$(BIN)/python -m clo.nano.build

clean: ## Remove outputs and caches (not .venv)
	rm -rf outputs .cache build dist *.egg-info
