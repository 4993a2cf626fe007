# `make help` explains the targets.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DATA ?= data/labelled

.DEFAULT_GOAL := help
.PHONY: help demo test lint faults soak bench live train clean

help:  ## Show this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "make %-8s %s\n", $$1, $$2}'

demo: $(VENV)/demo.stamp  ## Install into .venv, label the sample and print the report
	$(BIN)/reviewopt process data/sample_reviews.parquet --force

test: $(VENV)/dev.stamp lint  ## Run every check: ruff, mypy, import-linter, pytest
	$(BIN)/python -m pytest -n 2

lint: $(VENV)/dev.stamp  ## Run ruff, mypy and import-linter alone
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

faults: $(VENV)/dev.stamp  ## Break paid runs on purpose, the long way: twenty kills, 10,000 reviews through every fault
	REVIEWOPT_FAULTS_LONG=1 $(BIN)/python -m pytest tests/faults

soak: $(VENV)/dev.stamp  ## Ask a simulated endpoint for 30 minutes and watch memory, threads and connections
	$(BIN)/python tests/benchmarks/soak.py --minutes 30

bench: $(VENV)/dev.stamp  ## Measure speed, memory, accuracy and peers (needs DATA=folder of the tables named in configs/local)
	-$(BIN)/python tests/benchmarks/speed.py --data $(DATA)
	$(BIN)/python tests/benchmarks/classifier.py --data $(DATA)
	$(BIN)/pip install --quiet --editable '.[bench]'
	$(BIN)/python tests/benchmarks/peers.py --data $(DATA)

live: $(VENV)/demo.stamp  ## Label 50 reviews with a real, tiny language model on this processor (downloads 130 MB)
	$(BIN)/python tests/benchmarks/live.py --environment .venv-live --data $(DATA)

train: $(VENV)/dev.stamp  ## Rebuild the packaged classifier (needs DATA=folder, as bench)
	$(BIN)/python -m reviewopt.local.train --data $(DATA)

clean:  ## Remove what the other targets made
	rm -rf $(VENV) .venv-live build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("reviewopt needs Python 3.11 or newer, this is " + sys.version.split()[0] + "; try: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV) || (echo "python3 has no venv module; on Debian: apt-get install python3-venv"; rm -rf $(VENV); exit 1)

$(VENV)/demo.stamp: $(VENV)/bin/python pyproject.toml
	$(BIN)/pip install --quiet --disable-pip-version-check --editable .
	touch $@

$(VENV)/dev.stamp: $(VENV)/bin/python pyproject.toml
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@ $(VENV)/demo.stamp
