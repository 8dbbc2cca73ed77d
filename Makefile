# One line per verb; each calls `imaging` or one tool. Bare `make` lists them.
SHELL := /bin/bash
SERVE ?= 1
SCALE ?= 0.01
BIN := .venv/bin
# A file of tests stays with one worker, and so do the networks and builds that it shares.
WORKERS := -n 2 --dist loadfile --no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: help setup demo run test test-all lint format types dashboards dagster bench docs lock clean

help: ## list the verbs
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: ## install what the product and its tests need
	@tools/setup.sh dev

demo: ## synthetic network to served dashboards (SERVE=0 stops before serving)
	@tools/setup.sh run
	@$(BIN)/imaging demo --scale $(SCALE) $(if $(filter 0,$(SERVE)),--no-serve,--serve)

run: ## harvest, build, gate, publish what is in the inbox
	@tools/setup.sh run
	@$(BIN)/imaging run

test: setup ## lint, types and every test
	@$(MAKE) --no-print-directory lint types
	@$(BIN)/python -m pytest $(WORKERS)

test-all: setup ## what CI samples, in full
	@$(MAKE) --no-print-directory lint types
	@IMAGING_TEST_FULL=1 $(BIN)/python -m pytest $(WORKERS)

lint: ## ruff, sqlfluff, import-linter, documentation drift
	@$(BIN)/ruff check . && $(BIN)/ruff format --check -q .
	@cd dbt_project && ../$(BIN)/sqlfluff lint -q models macros tests
	@$(BIN)/lint-imports --no-logo >/dev/null || $(BIN)/lint-imports --no-logo
	@$(BIN)/imaging docs --check

format: ## let ruff and sqlfluff mend what they can
	@$(BIN)/ruff check -q --fix . ; $(BIN)/ruff format -q .
	@cd dbt_project && ../$(BIN)/sqlfluff fix -q models macros tests

types: ## type checker
	@$(BIN)/ty check -q

dashboards: ## serve the dashboards of the current build
	@$(BIN)/imaging dashboards

dagster: ## open the Dagster interface
	@$(BIN)/imaging dagster

bench: ## measure the journey, reduced
	@$(BIN)/imaging bench journey --quick --json

docs: ## write the generated reference pages
	@$(BIN)/imaging docs

LOCK = $(BIN)/uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --no-header --no-annotate -q
lock: ## renew the lists of pinned, hashed requirements
	$(LOCK) --all-extras -o requirements/all.txt
	$(LOCK) --extra dev -c requirements/all.txt -o requirements/dev.txt
	$(LOCK) --extra install -c requirements/all.txt -o requirements/run.txt
	printf 'dbt-core\ndbt-spark\npyspark\n' | $(BIN)/uv pip compile - --universal --python-version 3.11 \
	--generate-hashes --no-emit-index-url --no-emit-find-links --no-header --no-annotate -q \
	--override <(echo "dbt-core-experimental-parser ; sys_platform == 'never'") \
	-c requirements/all.txt -o requirements/spark.txt
	echo duckdb==1.1.3 | $(BIN)/uv pip compile - --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --no-header --no-annotate -q -o requirements/old_client.txt
	echo uv | $(BIN)/uv pip compile - --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-header --no-annotate -q -o requirements/bootstrap.txt

clean: ## remove the state of the demo (var/) and dbt's output
	@if [ -d var ] && [ ! -f var/synthetic.json ]; then \
		echo "var/ was not made by the demo; delete it yourself if it may go"; exit 1; fi
	rm -rf var dbt_project/target dbt_project/logs
