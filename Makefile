.DEFAULT_GOAL := help
.SUFFIXES:
SHELL := /bin/sh

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip --disable-pip-version-check --quiet
STUBS := protos/aka/v1/alias_service protos/aka/admin/v1/admin_service

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit("aka needs Python 3.11 or newer: make PYTHON=python3.12" if sys.version_info < (3, 11) else 0)'
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.serve: $(BIN)/python pyproject.toml constraints.txt
	@echo "installing aka into $(VENV)" >&2
	@$(PIP) install -c constraints.txt -e '.[server]' buf-bin
	@touch $@

$(VENV)/.dev: $(BIN)/python pyproject.toml constraints.txt
	@echo "installing aka and its development tools into $(VENV)" >&2
	@$(PIP) install -c constraints.txt -e '.[dev]'
	@touch $@ $(VENV)/.serve

$(VENV)/.bench: $(VENV)/.dev
	@$(PIP) install -c constraints.txt -e '.[bench]'
	@touch $@

.PHONY: install
install: $(VENV)/.dev ## Make .venv with aka, its tests' and its checks' needs

.PHONY: serve
serve: $(VENV)/.serve ## Install, make the database and a first key, and serve
	@exec $(BIN)/aka serve --log-format text

.PHONY: test
test: install ## Run every test that is fast enough for every change (under 8 minutes)
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile --ignore tests/callers --ignore tests/packaging

.PHONY: test-callers
test-callers: install ## Call aka from Go, Node, curl and buf; installs what npm and, as root, apt-get have for that
	$(BIN)/python -m pytest --timeout 900 tests/callers

.PHONY: dist
dist: install ## Build the wheel and the sdist into dist/, and check them
	@$(PIP) install -c constraints.txt -e '.[dist]'
	rm -rf dist
	$(BIN)/python -m build --no-isolation
	$(BIN)/twine check --strict dist/*

.PHONY: test-packaging
test-packaging: dist ## Install what was built, on the lowest and the newest versions, and test it there
	$(BIN)/python -m pytest --timeout 900 tests/packaging

.PHONY: test-faults
test-faults: install ## Run the fault tests, and the search of histories, in their long form
	@scripts/install-fault-tools $(VENV)/patroni $(PYTHON)
	AKA_TEST_LONG=1 $(BIN)/python -m pytest --write-faults tests/faults tests/histories tests/store/test_postgres_pooler.py

.PHONY: test-image
test-image: install ## Build the image with buildah over a Debian, as root, and run it
	@command -v buildah debootstrap >/dev/null || apt-get install -y buildah debootstrap
	AKA_TEST_LONG=1 $(BIN)/python -m pytest --timeout 900 tests/image

.PHONY: test-deploy
test-deploy: install ## Run deploy/'s balancer, HAProxy, in front of two servers, and ill-treat workers
	@command -v haproxy >/dev/null || apt-get install -y haproxy
	AKA_TEST_LONG=1 $(BIN)/python -m pytest tests/deploy tests/workers

.PHONY: test-schema
test-schema: install ## Call the gateway by its OpenAPI document, long, and with 100,000 malformed bodies
	AKA_TEST_LONG=1 $(BIN)/python -m pytest tests/gateway/test_gateway_schemathesis.py tests/gateway/test_gateway_rubbish.py

.PHONY: format
format: install ## Format the code and the protos
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix-only .
	$(BIN)/buf format -w

.PHONY: check
check: install ## Check format, lint, types, import contracts, the Dockerfile, protos and stubs
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/hadolint Dockerfile
	$(BIN)/buf lint
	$(BIN)/buf format -d --exit-code
	scripts/buf-breaking $(BIN)/buf
	$(MAKE) --no-print-directory sync-client OUT=$(VENV)/_client.py
	diff -u client/aka/client/_client.py $(VENV)/_client.py
	$(MAKE) --no-print-directory stubs OUT=$(VENV)/stubs
	for stub in $(foreach suffix,_pb2.py _pb2.pyi _pb2_grpc.py _pb2_grpc.pyi,$(addsuffix $(suffix),$(STUBS))); do \
	  diff -u $$stub $(VENV)/stubs/$${stub#protos/} || exit 1; done

.PHONY: stubs
stubs: install ## Generate the stubs from the protos
	@mkdir -p $(or $(OUT),protos)
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m grpc_tools.protoc -Iprotos -Iprotos/third_party \
	  --python_out=$(or $(OUT),protos) --grpc_python_out=$(or $(OUT),protos) \
	  --mypy_out=$(or $(OUT),protos) --mypy_grpc_out=$(or $(OUT),protos) \
	  $(patsubst %,%.proto,$(STUBS))

.PHONY: sync-client
sync-client: install ## Generate the sync client from the asyncio client
	@$(BIN)/python scripts/sync-client | $(BIN)/ruff check --quiet --select I --fix --stdin-filename _client.py - | \
	  $(BIN)/ruff format --stdin-filename _client.py - > $(or $(OUT),client/aka/client/_client.py)

.PHONY: bench
bench: $(VENV)/.bench ## Measure aka beside what its transport and its database allow
	$(BIN)/python -m benchmarks $(if $(ROWS),--rows $(ROWS))

.PHONY: bench-growth
bench-growth: install ## Measure aka among 5,000,000 identifiers, and over 1,000,000 calls
	@$(PIP) install -c constraints.txt -e '.[bench]'
	$(BIN)/python -m benchmarks --growth $(if $(ROWS),--rows $(ROWS))

.PHONY: bench-short
bench-short: $(VENV)/.bench ## Run every benchmark for a moment; fails on errors only
	$(BIN)/python -m benchmarks --short
	$(BIN)/python -m benchmarks --growth --short

.PHONY: clean
clean: ## Remove what was installed and generated, but no database
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache dist
