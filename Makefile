# Every target prepares what it needs. `make` alone lists them.
PYTHON ?= python3
STAGE  ?= dev
# Tests mostly wait for servers and clocks: one process more than this keeps two cores busy.
WORKERS_OF_TESTS ?= 3
export PATH := $(CURDIR)/.venv/bin:$(CURDIR)/node_modules/.bin:$(PATH)

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-slow check lint format types imports bench synth deploy deploy-local lock catalog

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "%-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## make .venv and node_modules; fast when nothing changed
	@$(PYTHON) tools/setup_env.py

demo: setup ## run the main job on embedded servers: SECONDS, WORKERS, RPS, STRIPE_API_KEY
	@python -m local.demo

test: setup ## unit and integration tests on real servers, under 10 minutes
	python -m pytest -n $(WORKERS_OF_TESTS) --dist loadfile --cov --cov-report=term:skip-covered

test-slow: setup ## the tests that take minutes
	python -m pytest -m slow

lint: setup ## ruff, format and rules
	ruff format --check .
	ruff check .

format: setup ## let ruff rewrite what it can
	ruff format .
	ruff check --fix .

types: setup ## mypy strict
	mypy

imports: setup ## the import contracts
	lint-imports

check: lint types imports test synth ## everything CI checks

bench: setup ## side-by-side benchmarks: a table, and benchmarks/results/latest.json
	@python -m benchmarks.run

synth: setup ## CloudFormation of one stage, without credentials or network
	@cdk synth --quiet --no-notices -c stage=$(STAGE)

deploy: setup ## deploy one stage to the current AWS account
	cdk deploy --all --no-notices -c stage=$(STAGE)

deploy-local: setup ## deploy one stage with the real CDK CLI into a moto server on this machine
	@python -m local.deploy --stage $(STAGE)

catalog: setup ## regenerate the catalog and the documents made from it, from the installed stripe SDK
	python tools/generate_catalog.py

lock: setup ## compile requirements*.txt from pyproject.toml and runtime/requirements.in; UPGRADE=1 takes newer versions
	@for job in "runtime/requirements.in -o runtime/requirements.txt" \
	  "pyproject.toml --extra cdk -c runtime/requirements.txt -o requirements.txt" \
	  "local/localstripe-requirements.in -o local/localstripe-requirements.txt" \
	  "pyproject.toml --extra cdk --group dev -c requirements.txt -o requirements-dev.txt"; do \
	  uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	    --no-emit-find-links --custom-compile-command "make lock" $(if $(UPGRADE),--upgrade) $$job || exit 1; done
