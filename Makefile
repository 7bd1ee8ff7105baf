# The two commands that matter: `make run` and `make test`. Both set up .venv first if need be.
PYTHON ?= python3
PIP_ARGS ?=
BIN := .venv/bin

.PHONY: run test test-all bench reference lint types venv clean

run: venv ## the horizons suite, quick profile: table and plots in a few minutes
	$(BIN)/membench run --suite horizons

test: venv ## everything but the slow learning runs
	$(BIN)/pytest -n 2

test-all: venv ## the slow learning runs too
	$(BIN)/pytest -n 2 -m ""

bench: venv ## speed, with pytest-benchmark: one process, one thread
	$(BIN)/pytest tests/benchmarks --benchmark-enable --benchmark-only --benchmark-group-by=group

reference: venv ## everything in results/reference again from the records and measurements that lie there
	for records in results/reference/*/runs.jsonl; do $(BIN)/membench report $$(dirname $$records) || exit 1; done
	$(BIN)/membench claims results/reference
	for pair in "gru_pmm transformer" "gru lstm" "gru_pmm mamba"; do \
		$(BIN)/membench compare $$pair --results results/reference || exit 1; done

lint: venv
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: venv
	$(BIN)/pyright

venv: .venv/up-to-date ## the set-up alone

.venv/up-to-date: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "membench needs Python 3.11 or newer; say make PYTHON=python3.12, for example")'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet $(PIP_ARGS) --constraint constraints.txt --editable '.[dev]'
	touch $@

clean: ## remove the virtual environment and caches, never results
	rm -rf .venv .pytest_cache .ruff_cache .hypothesis
