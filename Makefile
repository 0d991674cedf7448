# `make demo` and `make test` set up everything they need; `make help` lists the rest.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/pip --quiet --disable-pip-version-check
PORT   ?= 8080
# PyTorch's public index of CPU builds. It is used if it answers within three seconds, for the torch that other indexes
# have may bring gigabytes of CUDA packages; TORCH=cuda takes that one. The Dockerfile reads this line too.
TORCH_CPU_INDEX := https://download.pytorch.org/whl/cpu
TORCH           ?= cpu
TORCH_VERSION   := $(shell sed -n 's/^torch==\([0-9.]*\).*/\1/p' constraints.txt)
export PYTHONSAFEPATH = 1
export NUMBA_CACHE_DIR ?= $(CURDIR)/.numba_cache

.DEFAULT_GOAL := help
.PHONY: help setup models demo smoke test check fix bench docs clean kernels-nojit kernels-boundscheck

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-22s %s\n", $$1, $$2}'

$(VENV)/run.stamp: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) install -c constraints.txt -e .
	@touch $@

# torch goes in first, alone and pinned, because it has an index of its own.
define install_torch
	@if [ "$(TORCH)" = cpu ] && $(1)/python -c 'import signal, urllib.request as web; signal.alarm(3); web.urlopen("$(TORCH_CPU_INDEX)/torch/")' 2>/dev/null; \
	then set -x; $(1)/pip install --quiet --disable-pip-version-check --no-deps --index-url $(TORCH_CPU_INDEX) torch==$(TORCH_VERSION); \
	else set -x; $(1)/pip install --quiet --disable-pip-version-check torch==$(TORCH_VERSION); fi
endef

$(VENV)/models.stamp: $(VENV)/run.stamp
	$(call install_torch,$(BIN))
	$(PIP) install -c constraints.txt -e '.[models]'
	@touch $@

$(VENV)/dev.stamp: $(VENV)/models.stamp
	$(PIP) install -c constraints.txt -e '.[dev]'
	@touch $@

setup: $(VENV)/dev.stamp ## make the environment (.venv) with the development tools

models: $(VENV)/models.stamp ## add torch and transformers, which encode documents (TORCH=cuda for GPUs)

# The sample's vectors are in the repository, and queries are looked up: only other encoders need models.
demo: $(VENV)/run.stamp $(if $(ENCODE)$(filter-out bm25 lsr-mini,$(ENCODER)),$(VENV)/models.stamp) ## index the sample collection, start the service, print its URL (ENCODER=bm25, ENCODE=1)
	$(BIN)/lsr demo --port $(PORT) $(if $(ENCODER),--encoder $(ENCODER)) $(if $(ENCODE),--encode)

smoke: $(VENV)/models.stamp ## what demo does, then three queries over HTTP, and 100 documents encoded again, checked
	$(BIN)/lsr demo --smoke --port 0
	$(BIN)/lsr demo --smoke --port 0 --encoder bm25 --out .demo/bm25
	$(BIN)/python benchmarks/encode_sample.py --check 100

test: $(VENV)/dev.stamp ## run the tests
	$(BIN)/pytest

kernels-nojit: $(VENV)/dev.stamp ## the kernels' tests as plain Python
	NUMBA_DISABLE_JIT=1 $(BIN)/pytest -m kernels

kernels-boundscheck: $(VENV)/dev.stamp ## the kernels' tests with array bounds checked
	NUMBA_BOUNDSCHECK=1 NUMBA_CACHE_DIR=$(CURDIR)/.numba_cache/boundscheck $(BIN)/pytest -m kernels

check: $(VENV)/dev.stamp ## lint, format, types, layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

fix: $(VENV)/dev.stamp ## fix what ruff can fix by itself
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/dev.stamp ## the figures of the README, as JSON lines
	$(BIN)/python benchmarks/scifact.py

docs: ## where the documentation is
	@echo "README.md, docs/architecture.md, docs/ (make site); the HTTP API at /openapi.json of a running service"

clean: ## remove the environment and everything that the other targets made
	rm -rf $(VENV) .clients .cluster .containers .site .numba_cache .demo .bench *.egg-info .pytest_cache .mypy_cache .ruff_cache

# Needs Debian's chromium and npm; axe-core (MPL-2.0) is for these tests alone and is not part of the repository.
.PHONY: browser
browser: $(VENV)/dev.stamp ## the page's tests in a real browser
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[browser]'
	test -d .browser/node_modules/axe-core || npm install --silent --no-save --prefix .browser axe-core@4
	$(BIN)/pytest tests/browser --timeout 1800 $(BROWSER_TESTS)

# The site of docs/: strict, so that a link to nothing fails. Its packages go into an environment of their own.
.PHONY: site
site: ## build the documentation as a site, in .site/html
	test -d .site/venv || $(PYTHON) -m venv .site/venv
	.site/venv/bin/pip install --quiet --disable-pip-version-check -c constraints.txt mkdocs mkdocs-material
	.site/venv/bin/mkdocs build --strict --site-dir .site/html

# The integrations' packages and ours do not agree on versions: the client has an environment of its own.
# CLIENT_EXTRAS=mcp,langchain installs those alone, without torch; the other modules' tests are skipped then.
CLIENT_EXTRAS ?= test
.PHONY: clients
clients: $(VENV)/models.stamp ## the Python client's optional modules with the real packages, against a service
	test -d .clients || $(PYTHON) -m venv .clients
	$(if $(filter test,$(CLIENT_EXTRAS)),$(call install_torch,.clients/bin))
	.clients/bin/pip install --quiet --disable-pip-version-check -c clients/python/constraints.txt -e 'clients/python[$(CLIENT_EXTRAS)]' pytest
	HF_HUB_OFFLINE=1 HAYSTACK_TELEMETRY_ENABLED=False LSR=$(CURDIR)/$(BIN)/lsr .clients/bin/python -P -m pytest -q -rs -p no:cacheprovider --noconftest -c /dev/null --rootdir $(CURDIR) $(CURDIR)/tests/clients $(CLIENT_TESTS)

# moto, a real S3 server, needs an older python-dateutil than the development tools: an environment of its own.
.PHONY: cluster
cluster: ## the tests of shards in an object store, against a real S3 server
	test -d .cluster || $(PYTHON) -m venv .cluster
	grep -v '^python-dateutil==' constraints.txt > .cluster/constraints.txt
	.cluster/bin/pip install --quiet --disable-pip-version-check -c .cluster/constraints.txt -e '.[cluster]'
	.cluster/bin/python -P -m pytest -p no:cacheprovider tests/unit/test_sharding_object_store.py $(CLUSTER_TESTS)

# The real systems that package registries have; others are spoken to by what they document (tests/service/import_servers.py).
.PHONY: exchange
exchange: $(VENV)/dev.stamp ## import and export through Qdrant Edge, Milvus Lite and the package datasets
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[exchange]'
	$(BIN)/pytest tests/exchange --timeout 1800

# The container image: podman's buildah builds it, or IMAGE_BUILD='docker build' does. IMAGE_OPTIONS goes to either, such as
# --build-arg TORCH_INDEX_URL=…, or --isolation chroot where a build must do without namespaces.
IMAGE       := lsr:0.1.0
IMAGE_BUILD ?= buildah bud --layers --format docker
.PHONY: image container-base container-test
image: ## build the container image
	$(IMAGE_BUILD) $(IMAGE_OPTIONS) -t $(IMAGE) .

container-base: ## a base image from Debian's packages, where the registry of the Dockerfile's cannot be reached
	docker/base.sh

container-test: $(VENV)/dev.stamp image .containers/bin/podman-compose ## docker-compose.yml with the real image: index, serve, stop, start, upgrade
	COMPOSE=$(CURDIR)/.containers/bin/podman-compose $(BIN)/pytest tests/containers -s

# Debian 12 has version 1.0, which knows no profiles.
.containers/bin/podman-compose:
	$(PYTHON) -m venv .containers
	.containers/bin/pip install --quiet --disable-pip-version-check 'podman-compose>=1.3'
