# The two commands that a newcomer needs are `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
TYPES := .venv-types
.DEFAULT_GOAL := help
.PHONY: help demo test lint types bench clean

help:
	@echo "make demo   install, train a VAE on embedded digits, evaluate it, write runs/demo/report.html"
	@echo "make test   install and run all tests and doctests, on all cores"
	@echo "make lint   ruff: style and format"
	@echo "make types  mypy --strict on the built wheel, installed by itself"
	@echo "make bench  the benchmarks (PYROGEN_MNIST names the folder with the MNIST files;"
	@echo "            '$(BIN)/python -m pip install -e .[bench]' adds NumPyro as a peer)"

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: $(STAMP)
	$(BIN)/python examples/demo.py

test: $(STAMP)
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 8 --dist worksteal

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)
	PYTHON=$(PYTHON) VENV=$(VENV) TYPES=$(TYPES) sh .ci/types

bench: $(STAMP)
	$(BIN)/python benchmarks/run.py

clean:
	rm -rf $(VENV) $(TYPES) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
