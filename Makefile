# Every task of the project. `make help` lists them.

VENV := .venv
BIN := $(VENV)/bin

# 0, no and false switch the demo off like an empty value.
RUN_FLAGS = $(if $(filter-out 0 no false,$(DEMO)),--demo) \
	$(if $(HOST),--host '$(HOST)') \
	$(if $(PORT),--port '$(PORT)') \
	$(if $(INBOX_PORT),--inbox-port '$(INBOX_PORT)') \
	$(if $(DATA),--data '$(DATA)')

BENCH_STORE = $(if $(DATABASE),--database '$(DATABASE)') $(if $(NODES),--nodes '$(NODES)') \
	$(if $(WORKERS),--workers '$(WORKERS)')

.DEFAULT_GOAL := help
.PHONY: help setup run test lint format docs bench soak cluster migration lock clean

help: ## Show this list
	@awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## Make .venv and install the pinned packages, when that is not done yet
	@PYTHON='$(PYTHON)' sh scripts/bootstrap.sh

run: setup ## Start Posthorn with a ready key and inbox (DEMO=1 HOST= PORT= INBOX_PORT= DATA=)
	@exec $(BIN)/posthorn quickstart $(RUN_FLAGS)

test: lint ## Run every check and every test: what CI runs
	@sh scripts/test_tools.sh
	$(BIN)/python -m pytest -n 2 $(PYTEST_FLAGS)

lint: setup ## Check style, types, import directions and house rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q tests/test_house_rules.py

format: setup ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: setup ## Write the pages that are rendered from code
	$(BIN)/python scripts/write_docs.py

bench: setup ## Measure throughput and latency (DATABASE=embedded|URL NODES= WORKERS= BENCH_FLAGS=)
	$(BIN)/python -m bench $(BENCH_STORE) $(BENCH_FLAGS)

soak: setup ## Run the long proofs: crash and chaos rounds, then every measurement (DATABASE= BENCH_FLAGS=)
	@sh scripts/test_tools.sh
	CRASH_ROUNDS=200 $(BIN)/python -m pytest -m crash -s $(PYTEST_FLAGS)
	CHAOS_ROUNDS=20 $(BIN)/python -m pytest -m chaos -s $(PYTEST_FLAGS)
	EXACTNESS_EXAMPLES=2000 $(BIN)/python -m pytest tests/exactness/test_exact_histories.py $(PYTEST_FLAGS)
	EXACTNESS_EVENTS=100000 $(BIN)/python -m pytest -m exactness -s $(PYTEST_FLAGS)
	$(BIN)/python -m bench --long $(BENCH_STORE) $(BENCH_FLAGS)
	$(BIN)/python -m bench.wakes
	$(BIN)/python -m bench.wakes --database embedded

cluster: setup ## Start three PostgreSQL servers and three nodes on this machine, as an example
	@exec $(BIN)/python examples/cluster/run.py

migration: setup ## Write an empty migration to fill in (NAME=what_changes)
	$(BIN)/python scripts/new_migration.py '$(NAME)'

lock: setup ## Pin the newest allowed packages in requirements.lock
	$(BIN)/uv pip compile pyproject.toml --extra dev --upgrade --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-header --no-annotate --quiet --output-file requirements.lock

clean: ## Remove the caches of the tools
	rm -rf .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis build dist
