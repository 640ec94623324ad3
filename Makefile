# Each target does the set-up that it needs; when nothing is to do, that takes less than a second.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help setup environment up down status demo test test-unit lint bench faults figures screenshots lambda lock clean

BIN := .venv/bin
# The first Python that runs and fits; a name on PATH alone may be a shim of a version that is not installed.
PYTHON ?= $(firstword $(foreach name,python3.13 python3.12 python3.11 python3,\
	$(shell $(name) -c 'import sys; 0 if (3, 11) <= sys.version_info < (3, 14) else sys.exit(1)' 2>/dev/null && echo $(name))) python3)
PYTEST := $(BIN)/pytest -p no:cacheprovider

define bootstrap
@python="$(PYTHON)"; $$python -c '' 2>/dev/null || { echo "error: Python 3.11, 3.12 or 3.13 is needed, $$python does not run:" \
	"install one (Debian 12: apt-get install python3.11 python3.11-venv)" >&2; exit 1; }; $$python local/bootstrap.py
endef

help: ## print this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1	\2/p' $(MAKEFILE_LIST) | expand -t 20

setup: ## make .venv from the lock and fetch the engines
	$(bootstrap)

environment: # .venv alone: what needs no engine asks for no JDK and no Maven
	$(bootstrap) --without-engines

up: setup ## start the local cloud and leave it running; prints the URL of the Airflow UI and the login
	@$(BIN)/python -m local up

status: ## tell what of the local cloud runs
	@$(BIN)/python -m local status || true

down: ## stop the local cloud
	@if [ -x $(BIN)/python ]; then $(BIN)/python -m local down; else echo "nothing runs"; fi

demo: ## run the demo on real engines; ACTS=dictionary for the acts of one job
	@rm -f build/demo.json # a set-up that fails must not leave the result of an earlier run
	@$(MAKE) --no-print-directory setup
	@$(BIN)/python -m local.demo $(if $(ACTS),--acts $(ACTS))

test: setup ## run all tests, those against the real engines included
	@rm -f .coverage .coverage.*
	$(PYTEST) tests/unit -n 3 --dist worksteal --cov --cov-report=
	$(PYTEST) tests/integration -n 2 --dist loadfile --no-loadscope-reorder --cov --cov-append --cov-report=
	$(PYTEST) tests/system -n 0 --cov --cov-append --cov-report=term

test-unit: environment ## run the quick tests, which need no engine
	$(PYTEST) tests/unit -n 3 --dist worksteal

lint: environment ## check style, types, the dependency rule and the inventory
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m searchops.inventory check

bench: setup ## measure beside what one would use instead; NAME=waits for one
	@$(BIN)/python -m benchmarks $(NAME)

figures: environment ## write what make bench has measured of bulk indexing and replays into docs/: tables and pictures
	@$(BIN)/uv pip install -q --target build/figures/python -r benchmarks/requirements.txt -c constraints.txt
	@export PYTHONPATH=build/figures/python; missing=0; $(BIN)/python -m benchmarks.bulk.report || missing=1; \
		$(BIN)/python -m benchmarks.replay.report || exit $$missing

faults: setup ## break bulk indexing and replays at random and let referees compare; NAME=replay for one, SEEDS=17 or SEEDS=1-50,99 for some
	@$(BIN)/python -m local.faults $(if $(NAME),--name $(NAME)) $(if $(SEEDS)$(SEED),--seeds $(or $(SEEDS),$(SEED)))

screenshots: setup ## take the documents' pictures of the Airflow UI anew; needs Debian's chromium and fonts-noto-cjk
	@$(BIN)/uv pip install -q --target build/screenshots/python -r docs/requirements.txt -c constraints.txt
	@PYTHONPATH=build/screenshots/python $(BIN)/python -m docs.screenshots

lambda: environment ## make the zips of the Lambda functions in build/lambda/; PLATFORM=arm64 for that architecture
	@$(BIN)/python include/lambda/build.py object_once bulk_writer stream_indexer $(if $(PLATFORM),--platform $(PLATFORM))

lock: environment ## write constraints.txt anew from the requirements
	$(BIN)/uv pip compile --universal --python-version 3.11 requirements-dev.txt -o constraints.txt \
		--custom-compile-command "make lock" --quiet

clean: down ## remove what was built, and .venv
	rm -rf build dist .venv .coverage .coverage.* .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
