# `make demo` and `make test` set up what they need, once, in .venv.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: setup demo test lint build clean

setup: .venv/.ready

.venv/.ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(None if v >= (3, 11) else f"This course needs Python 3.11 or newer; $(PYTHON) is {v[0]}.{v[1]}. Install a newer one and say, for example, make PYTHON=python3.12 $(MAKECMDGOALS)")'
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	@touch $@

demo: setup
	$(BIN)/s30 demo

lint: setup
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/mypy benchmarks/grading.py

test: lint
	$(BIN)/s30 lint
	$(BIN)/s30 build --check
	$(BIN)/pytest tests -n auto --dist loadfile

build: setup
	$(BIN)/s30 build

clean:
	rm -rf .venv build dist *.egg-info
