# `make` lists what there is. Needs Python 3.11 or later, and a package registry that pip can reach.

VENV := .venv
BIN := $(VENV)/bin
STATE ?= .orch/run

# The first of these that is new enough; PYTHON=… says another.
CANDIDATES := python3.13 python3.12 python3.11 python3 python
PYTHON ?= $(shell for p in $(CANDIDATES); do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)

.DEFAULT_GOAL := help
.PHONY: help venv run test test-large test-live test-wheel kafka lint format bench soak docs lock clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | \
		awk -F'\t' '{printf "  make %-11s %s\n", $$1, $$2}'

venv: $(VENV)/.ready ## make .venv with everything that is locked

$(VENV)/.made:
	@if [ -z "$(PYTHON)" ]; then \
		echo "make: no Python 3.11 or later is on the PATH ($(CANDIDATES))."; \
		echo "Install one, or say where it is: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)"; \
		exit 1; fi
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "make: $(PYTHON) is not Python 3.11 or later: say another one as PYTHON=…"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "make: $(PYTHON) cannot make environments: install its venv package" \
		"(Debian: apt-get install python3-venv)"; exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv $(VENV)
	@touch $@

# What runs needs half of what tests need: nobody waits for the rest before the first run.
$(VENV)/.run-ready: pyproject.toml $(wildcard requirements/run.lock) | $(VENV)/.made
	@echo "installing into $(VENV), once: this takes a minute or two"
	@if [ -f requirements/run.lock ]; then \
		$(BIN)/python -m pip install --quiet --require-hashes -r requirements/run.lock && \
		$(BIN)/python -m pip install --quiet --no-deps -e .; \
	else \
		$(BIN)/python -m pip install --quiet -e .; \
	fi
	@touch $@

$(VENV)/.ready: pyproject.toml $(wildcard requirements/dev.lock) | $(VENV)/.made
	@echo "installing into $(VENV) what tests need, once: this takes a few minutes"
	@if [ -f requirements/dev.lock ]; then \
		$(BIN)/python -m pip install --quiet --require-hashes -r requirements/dev.lock && \
		$(BIN)/python -m pip install --quiet --no-deps -e .; \
	else \
		$(BIN)/python -m pip install --quiet -e '.[dev]'; \
	fi
	@touch $@ $(VENV)/.run-ready

run: $(VENV)/.run-ready ## the demo: a local node, the orchestrator and examples, live in the terminal
	@$(BIN)/orch demo --data-dir $(STATE)

# Most tests wait for something: two at a time take half as long, on one core, too.
PYTEST := $(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

test: venv ## all tests but the largest
	$(PYTEST) -m "not large"

test-large: venv ## what takes minutes each: kills at random, 500 partitions, benchmarks at a small size
	$(PYTEST) -m large

test-live: venv ## the conformance tests against a real node: BACALHAU_API=http://HOST:1234
	@test -n "$(BACALHAU_API)" || { \
		echo "make: say which node: make test-live BACALHAU_API=http://HOST:1234"; exit 2; }
	BACALHAU_API=$(BACALHAU_API) $(BIN)/python -m pytest tests/conformance -m live

test-wheel: venv ## build the wheel and use it outside the repository
	$(BIN)/python scripts/test_wheel.py

kafka: venv ## a Kafka broker in the foreground, for trying things
	@$(BIN)/python -m tests.support.kafka $(KAFKA_OPTIONS)

lint: venv ## ruff, pyright, import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports

format: venv ## bring the code into its form
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: venv ## benchmarks, with ratios to other schedulers
	$(BIN)/python -m tests.bench

soak: venv ## a million records in each mode, while daemon, broker and node are killed
	$(BIN)/python -m tests.soak kafka $(SOAK_OPTIONS)

docs: venv ## write docs/reference from the code
	$(BIN)/python docs/generate.py

COMPILE := $(BIN)/uv pip compile --quiet --universal --generate-hashes --upgrade --no-header \
	--no-emit-index-url --python-version 3.11 pyproject.toml

lock: venv ## write requirements/*.lock anew, with the newest versions that fit
	$(BIN)/python -m pip install --quiet uv
	$(COMPILE) --extra postgres -o requirements/run.lock
	$(COMPILE) --extra dev -o requirements/dev.lock

clean: ## remove what was made, but not the state of `make run`
	rm -rf $(VENV) build dist ./*.egg-info .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
