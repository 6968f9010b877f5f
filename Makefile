# Needs Python 3.11 or newer and make; everything else is set up in $(VENV).
SHELL := /bin/sh
VENV ?= .venv
CLIENTS_VENV ?= .venv-clients
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11; do \
  $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$python; break; }; done)
PIP = $(VENV)/bin/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt

unexport PYTHONDONTWRITEBYTECODE # with it, each process compiles the tests and what they use again

.DEFAULT_GOAL := help
.PHONY: help demo test check format lint types generate generated changes bump docs durations spec-report contract contract-fuzz score cross-check tests bench bench-scale bulk-proof kill-proof bench-clients consumers mutants page-picture recordings release-check vendor clean

help: ## this list
	@grep -E '^[a-z-]+:.*##' Makefile | sed 's/:.*## /\t/' | expand -t 15

demo: $(VENV)/.runs ## swap two faces with the local provider; pictures in out/demo
	$(VENV)/bin/python -m unitask demo

test: check ## everything that CI runs (the same as check)

check: lint types generated bump tests ## format, lint, types, generated code is current, all tests

format: $(VENV)/.checks ## format the hand-written code
	$(VENV)/bin/ruff format --quiet
	$(VENV)/bin/ruff check --quiet --fix

lint: $(VENV)/.checks
	$(VENV)/bin/ruff format --check --quiet
	$(VENV)/bin/ruff check --quiet
	$(VENV)/bin/lint-imports --no-cache
	$(VENV)/bin/actionlint
	$(VENV)/bin/zizmor --quiet --offline --no-progress .github
	$(VENV)/bin/hadolint Containerfile

types: $(VENV)/.checks ## mypy strict and pyright strict; every public name of the wrapper has a type that is written down
	$(VENV)/bin/mypy
	$(VENV)/bin/basedpyright
	@said=$$(PATH="$(abspath $(VENV))/bin:$$PATH" basedpyright --verifytypes unitask --ignoreexternal) \
	  || { echo "$$said"; exit 1; }; echo "$$said" | grep "Type completeness"

generate: $(VENV)/.checks ## bundle, lint, generate the client, the task classes and the pages
	cd spec && $(CURDIR)/$(VENV)/bin/python -m generator
	PYTHONPATH=.:spec $(VENV)/bin/python -m scripts.pages

generated: $(VENV)/.checks ## is the generated code what the spec gives?
	cd spec && $(CURDIR)/$(VENV)/bin/python -m generator --check

docs: $(VENV)/.checks ## the site, in out/site: open out/site/index.html; strict, and no page loads anything from another host
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs build --quiet --strict

changes: $(VENV)/.checks ## what changed for a caller since BASE=<git ref>, and its semver level
	cd spec && $(CURDIR)/$(VENV)/bin/python -m generator.changes --base $(BASE)

durations: $(VENV)/.checks ## what a recording says about typical_seconds, FROM=FOLDER: a patch, and the polls with the new ones
	@PYTHONPATH=.:spec $(VENV)/bin/python -m scripts.durations $(FROM)

spec-report: $(VENV)/.checks ## how surely each family is known
	cd spec && $(CURDIR)/$(VENV)/bin/python -m generator.report

bump: $(VENV)/.checks # once a version is tagged: does ours say how much the contract has changed since?
	@last=$$(git describe --tags --abbrev=0 --match 'v*' 2>/dev/null) || exit 0; \
	cd spec && $(CURDIR)/$(VENV)/bin/python -m generator.changes --base "$$last" --require-bump

contract: $(VENV)/.checks ## the contract tests alone; those of hypothesis at length with PROFILE=nightly
	$(VENV)/bin/python -m pytest contract_tests --numprocesses auto --dist worksteal $(if $(PROFILE),-m hypothesis --hypothesis-profile $(PROFILE))

contract-fuzz: $(VENV)/.checks ## schemathesis' own run against the sandbox on a port: thousands of cases (CASES=100 an operation)
	PYTHONPATH=.:spec $(VENV)/bin/python -m scripts.fuzz $(if $(CASES),--max-examples $(CASES))

score: $(VENV)/.checks ## how strong the checks are: wrong answers, faults, defects, changes of the spec, coverage; out/score.md (some minutes; make mutants first)
	PYTHONPATH=.:spec CI=true $(VENV)/bin/python -m scripts.score

tests: $(VENV)/.checks
	$(VENV)/bin/python -m pytest --numprocesses auto --dist worksteal

cross-check: $(VENV)/.checks ## let a mock server (npm) that shares no code with us judge our requests
	npm install --prefix out/cross-check --no-save --no-package-lock --ignore-scripts @stdy/cli@0.22.2
	PYTHONPATH=. $(VENV)/bin/python -m scripts.cross_check out/cross-check/node_modules/@stdy/cli-*/bin/steady

bench: $(VENV)/.checks ## import, validation, size, the cost of waiting, of a journal and of a recording, as ratios
	$(VENV)/bin/python benchmarks/bench_wrapper.py
	$(VENV)/bin/python benchmarks/bench_waiting.py
	$(VENV)/bin/python -m benchmarks.scale.journal
	$(VENV)/bin/python -m benchmarks.scale.recording

bench-scale: ## many tasks at once: ours and published clients beside raw sockets; out/scale.md, 25 minutes (SCALE='--tasks 1000': less)
	$(PYTHON) -m venv $(CLIENTS_VENV)
	$(CLIENTS_VENV)/bin/python -m pip --disable-pip-version-check install --quiet \
	  --requirement benchmarks/clients/requirements.txt aiohttp numpy pyreqwest '.[bulk]'
	$(CLIENTS_VENV)/bin/python -m benchmarks.scale.collect $(SCALE)

bulk-proof: $(VENV)/.checks ## 1,000 face swaps through Ctrl-C, kill -9 and a full disk: files and charges (COUNT=60: fewer)
	$(VENV)/bin/python -m scripts.bulk_swaps $(or $(COUNT),1000)

kill-proof: $(VENV)/.checks ## jobs whose processes are killed, and whose database crashes: tasks and money in the ledger of the local provider
	$(VENV)/bin/python -m scripts.kill_bulk
	$(VENV)/bin/python -m scripts.kill_workers

bench-clients: ## published clients and ours against one server that fails (WRITE=1: docs/clients.md)
	$(PYTHON) -m venv $(CLIENTS_VENV)
	$(CLIENTS_VENV)/bin/python -m pip --disable-pip-version-check install --quiet \
	  --requirement benchmarks/clients/requirements.txt .
	$(CLIENTS_VENV)/bin/python -m benchmarks.clients.collect $(if $(WRITE),--write)

consumers: $(VENV)/.checks ## do tools of other makers take docs/openapi.json, and LangChain the LLM endpoints? (npm, PyPI)
	$(PIP) langchain-openai
	$(VENV)/bin/python -m pytest scripts/consumers
	rm -rf out/consumers && mkdir -p out && cp -r scripts/consumers out/consumers
	cd out/consumers && npm install --no-audit --no-fund --silent
	cd out/consumers && npx redocly lint --max-problems 20 ../../docs/openapi.json
	cd out/consumers && npx spectral lint --ruleset spectral.yaml --fail-severity warn ../../docs/openapi.json
	cd out/consumers && npx openapi-typescript ../../docs/openapi.json -o openapi-typescript.ts
	cd out/consumers && npx openapi-ts -i ../../docs/openapi.json -o hey-api
	cd out/consumers && npx tsc --strict --noEmit --skipLibCheck --module esnext --moduleResolution bundler --target es2022 swap.ts
	$(PYTHON) -m venv out/consumers/venv && out/consumers/venv/bin/pip install --quiet --requirement out/consumers/requirements.txt
	cd out/consumers && venv/bin/datamodel-codegen --input ../../docs/openapi.json --input-file-type openapi \
	  --output models.py --output-model-type pydantic_v2.BaseModel && venv/bin/python swap.py

release-check: $(VENV)/.checks ## a release before its tag: build both distributions, install and run them on each Python, compare versions (some minutes)
	$(PIP) build 'readme-renderer[md]' twine
	PYTHONPATH=. $(VENV)/bin/python -m scripts.release_check

mutants: $(VENV)/.checks ## do the unit tests notice when the wrapper is changed? an hour or more; MUTANTS='unitask._core.contents*' tries these again
	$(PIP) mutmut
	@mkdir -p out/mutmut/spec
	$(if $(MUTANTS),,rm -rf out/mutmut/mutants)
	ln -sfn ../../wrapper out/mutmut/src
	ln -sfn ../../../spec/examples out/mutmut/spec/examples
	ln -sfn ../../docs out/mutmut/docs
	ln -sfn ../../pyproject.toml out/mutmut/pyproject.toml
	ln -sfn ../../conftest.py out/mutmut/conftest.py
	cd out/mutmut && CI=true $(CURDIR)/$(VENV)/bin/mutmut run --max-children 2 $(MUTANTS)
	cd out/mutmut && $(CURDIR)/$(VENV)/bin/mutmut export-cicd-stats && $(CURDIR)/$(VENV)/bin/mutmut results
	$(VENV)/bin/python scripts/mutants.py $(MUTANTS)

recordings: $(VENV)/.checks ## docs/recordings, from commands in a terminal against the local provider
	PYTHONPATH=. $(VENV)/bin/python -m scripts.recordings

page-picture: $(VENV)/.checks ## docs/sandbox-page*.png, from the running page; needs a Chromium
	PAGE_PICTURES=$(CURDIR)/docs $(VENV)/bin/python -m pytest -q sandbox/tests/test_page.py -k pictures_of

vendor: $(VENV)/.checks ## fetch the vendored files again from the packages they are from
	$(VENV)/bin/python scripts/vendor.py

clean: ## remove everything that was made here
	rm -rf $(VENV) $(CLIENTS_VENV) out dist .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "unitask needs Python 3.11 or newer; set PYTHON=/path/to/python" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.runs: pyproject.toml sandbox/pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) --editable '.[cli,sandbox]' --editable sandbox
	@touch $@

$(VENV)/.checks: pyproject.toml sandbox/pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) --editable '.[dev]' --editable sandbox
	@touch $@ $(VENV)/.runs
