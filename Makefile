# Every target prepares what it needs. `make` alone lists them.
PYTHON ?= python3
STAGE  ?= dev
OUT    ?= cdk.out
# Tests mostly wait for servers and clocks: one process more than this keeps two cores busy.
WORKERS_OF_TESTS ?= 3
export PATH := $(CURDIR)/.venv/bin:$(CURDIR)/node_modules/.bin:$(PATH)

.DEFAULT_GOAL := help
.PHONY: help setup demo test coverage test-slow snapshots chaos check lint format types imports bench bench-synth synth diff deploy destroy deploy-local event-types lock catalog

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "%-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## make .venv and node_modules; fast when nothing changed
	@$(PYTHON) tools/setup_env.py

demo: setup ## run the main job on embedded servers: SECONDS, WORKERS, RPS, STRIPE_API_KEY
	@python -m local.demo

test: setup ## unit and integration tests on real servers, under 10 minutes
	python -m pytest -n $(WORKERS_OF_TESTS) --dist loadfile --no-loadscope-reorder

coverage: setup ## the same tests, slower, and which lines they leave out
	python -m pytest -n $(WORKERS_OF_TESTS) --dist loadfile --no-loadscope-reorder --cov --cov-report=term:skip-covered

test-slow: setup ## the tests that take minutes
	python -m pytest -m slow

snapshots: setup ## accept the templates as they are now: review the diff before you commit it
	python -m pytest -q tests/infra/test_snapshots.py --snapshot-update

chaos: setup ## break real servers under load and print what it did: SECONDS, FAULT, SEED
	@python -m local.chaos

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

bench-synth: setup ## how long a synthesis takes, measured in those of an empty app
	@python -m benchmarks.synthesis

synth: setup ## CloudFormation of one stage, without credentials or network
	@cdk synth --quiet --no-notices --output $(OUT) -c stage=$(STAGE) $(CDK_ARGS)

diff: setup ## compare one stage with what is deployed; reads templates and nothing else
	@cdk diff --no-notices --no-color --method template -c stage=$(STAGE) $(CDK_ARGS)

deploy: setup ## deploy one stage to the current AWS account; CDK_ARGS="-c alarm_email=you@example.com" and the like
	cdk deploy --all --no-notices -c stage=$(STAGE) $(CDK_ARGS)

destroy: setup ## delete one stage's stacks from the current AWS account
	cdk destroy --all --no-notices -c stage=$(STAGE) $(CDK_ARGS)

deploy-local: setup ## deploy one stage with the real CDK CLI into a moto server on this machine
	@python -m local.deploy --stage $(STAGE)

event-types: setup ## which of Stripe's event types the cache must hear of, one per line
	@python tools/event_types.py

catalog: setup ## regenerate the catalog and the documents made from it, from the installed stripe SDK
	python tools/generate_catalog.py

lock: setup ## compile requirements*.txt from pyproject.toml and runtime/requirements.in; UPGRADE=1 takes newer versions
	@for job in "runtime/requirements.in -o runtime/requirements.txt" \
	  "runtime/requirements-encryption.in -c runtime/requirements.txt -o runtime/requirements-encryption.txt" \
	  "pyproject.toml --extra cdk -c runtime/requirements.txt -o requirements.txt" \
	  "local/localstripe-requirements.in -o local/localstripe-requirements.txt" \
	  "pyproject.toml --extra cdk --group dev -c requirements.txt -c runtime/requirements-encryption.txt -o requirements-dev.txt"; do \
	  uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	    --no-emit-find-links --custom-compile-command "make lock" $(if $(UPGRADE),--upgrade) $$job || exit 1; done
