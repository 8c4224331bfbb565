PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
ARGS ?=

.DEFAULT_GOAL := help

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(READY): requirements-dev.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(None if (3, 11) <= sys.version_info < (3, 14) else "cutout needs Python 3.11 to 3.13, this is %d.%d; name another one: make PYTHON=python3.12 ..." % sys.version_info[:2])'
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

.PHONY: install
install: $(READY) ## Make .venv with the locked dependencies

.PHONY: demo
demo: $(READY) ## Cut out the 12 photos in all four forms, on this machine alone
	$(BIN)/cutout demo

.PHONY: up
up: $(READY) ## Run everything on this machine until Ctrl-C
	$(BIN)/cutout up

PYTEST := $(BIN)/pytest --numprocesses 3 --dist loadscope --no-loadscope-reorder --timeout 300

.PHONY: test test-all
# Where it is set, every process compiles anew what it imports: 7 s of CPU for each of pytest's workers.
test test-all: export PYTHONDONTWRITEBYTECODE =
test: $(READY) ## Run each behaviour's test on real servers and processes, some minutes
	$(PYTEST) -m 'not long' $(ARGS)

test-all: $(READY) ## Run all tests, the long ones too: soak, kill points, fuzz of the API
	$(PYTEST) $(ARGS)

.PHONY: check
check: $(READY) ## Lint, format, types, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/bandit --quiet --recursive --configfile pyproject.toml api cli console cutout cutout_client local migrations sandbox worker

.PHONY: openapi openapi-changes
openapi: $(READY) ## Renew docs/reference/openapi.json
	$(BIN)/python -m tests.docs.openapi_file

openapi-changes: $(READY) ## Compare it with the last release's; fails on a breaking change
	$(BIN)/python -m tests.api.openapi_changes

.PHONY: audit
audit: $(READY) ## Ask whether the locked dependencies have known holes; needs the network
	$(BIN)/pip-audit --strict --require-hashes --disable-pip -r requirements.lock

.PHONY: format
format: $(READY) ## Format the code and mend what the linter can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: bench
# Its processes start as an installed one does, from compiled files.
bench: export PYTHONDONTWRITEBYTECODE =
bench: $(READY) ## Measure everything, an hour and a half, and write bench/README.md; e.g. ARGS='interactive again'
	$(BIN)/python -m bench $(ARGS)

.PHONY: soak
soak: $(READY) ## Kill and act at random while 3,000 jobs run, and audit; e.g. ARGS='--jobs 200 --kills 16'
	$(BIN)/python -m tests.soak $(ARGS)

.PHONY: lock
lock: $(READY) ## Renew the locked dependencies
	$(BIN)/uv pip compile --upgrade $(LOCK) --extra traces pyproject.toml -o requirements.lock
	$(BIN)/uv pip compile --upgrade $(LOCK) --all-extras -c requirements.lock pyproject.toml -o requirements-dev.lock

LOCK := --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header \
	--no-emit-index-url --no-emit-find-links

.PHONY: types
types: $(READY) ## Renew the types for TypeScript; needs Node.js 20 and the network
	npm ci --prefix clients/typescript --no-audit --no-fund --ignore-scripts
	npm run --prefix clients/typescript generate

.PHONY: clean
clean: ## Remove what the targets made, the local data included
	rm -rf $(VENV) .cutout demo-output .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis clients/typescript/node_modules
