# demo, test, lint, bench, docs: the only commands to remember. Each sets up .venv when it is missing or stale.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test test-fast lint bench docs docs-check fit clean

.venv/.ready: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	touch $@

demo: .venv/.ready
	@$(BIN)/python examples/demo.py

test: .venv/.ready
	$(BIN)/python -m pytest

test-fast: .venv/.ready
	$(BIN)/python -m pytest -m 'not slow'

lint: .venv/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: .venv/.ready
	$(BIN)/python benchmarks/speed.py
	$(BIN)/python benchmarks/outlook.py

docs: .venv/.ready
	$(BIN)/python tools/docs.py

docs-check: .venv/.ready
	$(BIN)/python tools/docs.py --check

fit: .venv/.ready
	$(BIN)/python tools/fit.py $(if $(wildcard ../shared/data/training_measured.csv),--also ../shared/data/training_measured.csv)

clean:
	rm -rf .venv dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis
