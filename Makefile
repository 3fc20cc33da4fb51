# make demo   Table I on the drawn data set, from nothing, in a few minutes
# make test   lint, format check and tests
# Everything goes into .venv; `make PYTHON=python3.12 demo` chooses the Python.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test test-slow clean

demo: .venv/installed
	$(BIN)/python -m experiments.reproduce_table1

test: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m pytest

test-slow: .venv/installed
	$(BIN)/python -m pytest -m slow

.venv/installed: setup.py
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

clean:
	rm -rf .venv
