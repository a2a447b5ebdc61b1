# Settings pass through as they are: `make serve PORT=9000 MARKET=recorded`. Everything is made below .venv/ and var/.
PYTHON ?= python3
MARKET_DATA ?= ../shared/market
GOLDEN_DIR ?= ../shared/golden
VENV := .venv
BIN := $(VENV)/bin
RUNTIME := $(VENV)/.runtime
DEV := $(VENV)/.dev
PINNED := --quiet --no-deps --require-hashes
PIP := $(BIN)/python -m pip install --disable-pip-version-check --no-compile $(PINNED)
# Installs the packages of a list: by uv, which takes seconds, or by pip where uv cannot be had or does not reach the packages
install = $(BIN)/uv pip install --python $(BIN)/python $(PINNED) -r $(1) || { echo "pip installs $(1), which takes longer"; $(PIP) -r $(1); }
# Installs uv from its lines in the list of development packages, if it is missing
uv = test -x $(BIN)/uv || { sed -n '/^uv==/,/[^\\]$$/p' requirements-dev.txt >$(VENV)/uv.txt; \
  $(PIP) -r $(VENV)/uv.txt || echo "uv cannot be had"; }
# The lists of pinned packages, in the order in which each keeps to those before it, and what writes them for all platforms
LOCKS := requirements requirements-mcp requirements-dev bench/requirements tests/clients/python/requirements
LOCK = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
  --no-emit-package pip --custom-compile-command "make lock"
# The command line with this environment's Python, whatever Python the machine has
COMMAND := $(BIN)/predict
# `make release-check` leaves the tests out if this is set
QUICK ?=
# So many files of tests at a time: one more than the machine has processors, since some wait, and two to four
TESTERS ?= $(shell n=$$(getconf _NPROCESSORS_ONLN 2>/dev/null); case $$n in (2|3) echo $$((n + 1));; (""|1) echo 2;; (*) echo 4;; esac)
# What `make unit` runs: the tests of the pure core and of what is read from files, which take seconds
UNIT := tests/config tests/live/test_events.py tests/market tests/model tests/signals tests/structure tests/test_architecture.py \
  tests/test_spec_figures.py tests/test_spec_references.py
# Programs that some tests need beside Python: program:Debian's package:Homebrew's formula, and what will do instead
TOOLS := redis-server:redis-server:redis promtool:prometheus:prometheus amtool:prometheus-alertmanager:alertmanager \
  nginx:nginx:nginx haproxy:haproxy:haproxy \
  chromium-headless-shell:chromium-headless-shell:chromium:chromium npm:npm:node
# Installs the packages of Node that the lock file of the first folder pins into the second one, once
install_packages = (if ! command -v npm >/dev/null; then \
    echo "npm is missing; to install it: sudo apt-get install npm (Debian), brew install node (macOS)"; exit 1; \
  elif ! cmp -s $(1)/package-lock.json $(2)/installed.json; then \
    rm -f $(2)/installed.json && mkdir -p $(2) && cp $(1)/package.json $(1)/package-lock.json $(1)/.npmrc $(2)/ && \
    (cd $(2) && npm ci --loglevel=error --no-progress --fetch-retries=1 --fetch-timeout=20000) && cp $(1)/package-lock.json $(2)/installed.json || \
    { echo "npm cannot install the packages of $(1)"; exit 1; }; fi)
# Installs the dashboard's packages, once
install_dashboard = $(call install_packages,dashboard,$(VENV)/dashboard) && \
  { test -e dashboard/node_modules || ln -sfn ../$(VENV)/dashboard/node_modules dashboard/node_modules; }
# What the dashboard is built from, and the file that says that it has been
DASHBOARD_SOURCES = $(shell find dashboard -type f -not -path 'dashboard/dist/*' -not -path 'dashboard/node_modules/*' -not -name schema.d.ts)
DASHBOARD_BUILT := dashboard/dist/index.html
# Says that the tests have been compiled
COMPILED := $(VENV)/.compiled
# Where there is no network, it says so soon
APT := apt-get -qq -o Acquire::Retries=1 -o Acquire::http::Timeout=20 -o Acquire::https::Timeout=20
# Says that the missing programs were once tried to install: from then on, what will do instead does
TRIED := $(VENV)/.tried
export MARKET_DATA GOLDEN_DIR QUICK
unexport PYTHONPATH PYTHONDONTWRITEBYTECODE
.DEFAULT_GOAL := help
.PHONY: help setup serve test unit soak bench evaluate train import openapi asyncapi check audit lock tools observe regions wheel dashboard screenshots docs clean
.PHONY: sbom licences release-check programs test-packages test-dashboard

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 22

setup: $(DEV) ## everything for development: virtual environment, packages

serve: $(RUNTIME) ## start the server: the demo market, unless MARKET or POLYGON_API_KEY is set
	@$(MAKE) --silent dashboard || echo "the server starts without its dashboard"
	@exec $(COMMAND) serve

test: ## style, types, known vulnerabilities and all tests that CI runs
	@$(MAKE) --no-print-directory -j 4 audit tools $(COMPILED)
	$(BIN)/python -m pytest -m "not soak" -n $(TESTERS) --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

unit: $(DEV) ## the tests that need no server, no other process and no real bars, in seconds
	$(BIN)/python -m pytest -m "not soak and not integration" -n $(TESTERS) $(UNIT) $(PYTEST_ARGS)

check: $(DEV) ## style and types alone
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

audit: $(DEV) ## known vulnerabilities in the pinned packages; passes where no advisories can be had
	@$(BIN)/python .ci/audit.py $(LOCKS:=.txt) $(AUDIT_ARGS)

lock: $(DEV) ## write each requirements.txt from its requirements.in, with hashes; LOCK_ARGS="--upgrade-package NAME" takes newer ones
	@for name in $(LOCKS); do $(LOCK) $$name.in --output-file $$name.txt $(LOCK_ARGS) || exit 1; done

sbom: $(DEV) ## list all that ships in dist/sbom.cdx.json (CycloneDX)
	@$(BIN)/python -m ops.release.sbom

licences: $(DEV) ## write LICENCES-THIRD-PARTY.md; fails for a licence that is not allowed
	@$(BIN)/python -m ops.release.licences

release-check: $(DEV) ## rehearse a release, all but the upload; QUICK=1 leaves the tests out
	@$(BIN)/python -m ops.release.check

tools: programs test-packages test-dashboard ## programs that some tests need: installed where that is possible, else named

programs: | $(BIN)/python
	@PATH="$$PATH:/usr/sbin"; has() { command -v "$$1" >/dev/null; }; \
	will_do() { [ -e $(TRIED) ] && [ "$${1#*:*:*:}" != "$$1" ] && has "$${1##*:}"; }; \
	missing=$$(for tool in $(TOOLS); do has "$${tool%%:*}" || will_do "$$tool" || echo "$$tool"; done); \
	installs() { false; }; \
	if [ -z "$$missing" ]; then exit; \
	elif [ "$$(id -u)" = 0 ] && has apt-get; then timeout 120 $(APT) update >/dev/null 2>&1; \
	  installs() { DEBIAN_FRONTEND=noninteractive $(APT) install -y --no-install-recommends "$$1" 2>&1; }; \
	elif has brew; then installs() { brew install --quiet "$$2" 2>&1; }; fi; \
	for tool in $$missing; do \
	  set -- $$(echo "$$tool" | tr : ' '); \
	  said=$$(installs "$$2" "$$3") || [ -z "$$said" ] || echo "$$said"; \
	  has "$$1" || has "$${4:-$$1}" || echo "$$1 is missing, tests that need it will be skipped; to install it:" \
	    "sudo apt-get install $$2 (Debian), brew install $$3 (macOS)"; \
	done; touch $(TRIED)

test-packages: programs
	@$(call install_packages,tests/node,$(VENV)/node) || echo "tests that need the packages of tests/node will be skipped"

test-dashboard: programs
	@$(MAKE) --silent dashboard && $(install_dashboard) || echo "tests of the dashboard will be skipped"

observe: ## Prometheus and Alertmanager with the rules of ops/ beside a running server (PORT), until Ctrl-C
	@exec ops/observe

regions: $(RUNTIME) ## three regions on this machine behind a balancer (PORT: the first of their ports), until Ctrl-C
	@exec $(BIN)/python -m ops.regions

screenshots: $(DEV) ## pictures of the dashboard in its states, below var/screenshots
	@$(MAKE) --silent dashboard
	$(BIN)/python -m tests.browser.screenshots

soak: $(DEV) tools ## the tests that take longer
	COLD_STARTS=1 $(BIN)/python -m pytest -m soak $(PYTEST_ARGS)

bench: $(RUNTIME) ## time of each analysis, start-up, memory and first answers, on this machine
	$(BIN)/python -m bench

import: $(RUNTIME) ## import the bars of MARKET_DATA into DATA_DIR
	$(COMMAND) import $(MARKET_DATA)

evaluate: $(DEV) ## the models' out-of-sample table beside its baselines
	@if [ -d "$(MARKET_DATA)" ]; then $(COMMAND) import $(MARKET_DATA) >/dev/null; fi
	@$(COMMAND) evaluate
	@if [ -z "$$MODELS_DIR" ]; then $(COMMAND) evaluate --page docs/model/report.html; fi

train: $(DEV) ## fit the models on the imported bars, write them to MODELS_DIR (app/model/artefacts) and promote them
	$(COMMAND) import $(MARKET_DATA)
	$(COMMAND) train --promote

openapi: $(RUNTIME) ## record the examples of version 2 and write its document, blueprints/v2/openapi.json
	$(BIN)/python -m app.factory.openapi

asyncapi: $(RUNTIME) ## write the document of Socket.IO, blueprints/socket_io/asyncapi.json, and the types of its events
	$(BIN)/python -m app.factory.asyncapi
	$(BIN)/python -m clients.event_types

wheel: $(DEV) $(DASHBOARD_BUILT) ## a wheel with all that the server needs, in dist/, and its SHA-256
	@$(BIN)/python -m ops.release.wheel

dashboard: $(DASHBOARD_BUILT) ## build the page at /, where npm is there

docs: $(DEV) ## build the docs site into site/, which needs no network
	@$(BIN)/python -m docs.build site && echo "built: open site/index.html, or see it with: $(BIN)/python -m http.server -d site 8001"

clean: ## remove the virtual environment, caches, the built dashboard, docs and wheel; var/ stays
	rm -rf $(VENV) site dist dashboard/dist dashboard/node_modules dashboard/src/api/schema.d.ts .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed (PYTHON=... names another)"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then apt-get update -qq && apt-get install -y -qq python3-venv && $(PYTHON) -m venv $(VENV); \
	  else echo "python3-venv is missing: sudo apt-get install python3-venv"; exit 1; fi; }

$(COMMAND): Makefile | $(BIN)/python
	@printf '%s\n' '#!/bin/sh' 'root=$$(cd "$$(dirname "$$0")/../.." && pwd)' \
	  'PYTHONPATH=$$root exec "$$root/$(BIN)/python" -P -m app "$$@"' >$@ && chmod +x $@

$(RUNTIME): requirements.txt | $(BIN)/python $(COMMAND)
	@$(uv)
	@$(call install,requirements.txt)
	@touch $@

$(DEV): requirements-dev.txt $(RUNTIME)
	@$(call install,requirements-dev.txt)
	@touch $@

# While packages of Node come, so that not each of the testers does it
$(COMPILED): $(shell find tests -name '*.py') $(DEV)
	@$(BIN)/python -m pytest -m "not soak" --collect-only --quiet >/dev/null || true
	@touch $@

$(DASHBOARD_BUILT): $(DASHBOARD_SOURCES) blueprints/v2/openapi.json clients/typescript/live-events.d.ts
	@$(install_dashboard)
	@echo "building the dashboard"; cd dashboard && npm run --silent build
	@touch $@
