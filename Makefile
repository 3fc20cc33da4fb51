# make demo       Table I on the drawn data set, from nothing, in a few minutes
# make test       lint, format check, type check (mypy) and the quick tests
# make test-all   the same with every test
# make docs       the documentation site, into site/
# Everything goes into .venv; `make PYTHON=python3.12 demo` chooses the Python.
PYTHON ?= python3
BIN := .venv/bin
# The tested versions, on the Python and the platform that they are of.
HERE := $(shell $(PYTHON) -c "import platform as p; print(*p.python_version_tuple()[:2], p.system(), p.machine(), sep='-')")
LOCK := $(if $(filter 3-11-Linux-x86_64,$(HERE)),-c requirements.lock)

.PHONY: demo test test-all test-processors docs clean

demo: .venv/installed
	$(BIN)/python -m experiments.reproduce_table1

test: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m mypy
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

test-all: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m mypy
	$(BIN)/python -m pytest -m ''

# The tests that compare numbers, as other processors compute them; `make SETTINGS="AVX2 one_core" test-processors`.
test-processors: .venv/installed
	$(BIN)/python -m tests.processors $(SETTINGS)

docs: .venv/installed
	$(BIN)/python docs/generate.py docs/reference
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict
	@echo "the site is in site/: open site/index.html"

.venv/installed: setup.py requirements.lock
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]' $(LOCK)
	touch $@

clean:
	rm -rf .venv
