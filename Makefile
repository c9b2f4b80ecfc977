# `make setup` needs python3.11, make and a package index that pip can reach; nothing else.
# Another Python: make setup PYTHON=python3.12

PYTHON ?= python3.11
BIN := .venv/bin
PROCESSES ?= 4 # that run tests at a time; each has servers of its own
STAMP := .venv/.setup-$(notdir $(PYTHON))
GROUPS := --group tests --group beside --group around --group carriers --group clients --group browser --group lint --group docs --group bench --group build

.PHONY: help setup demo unit test browser coverage faults celery-suite compat neighbours frameworks replay lint \
	types bench figures docs screenshots wheel-test constraints pins image-requirements audit
.DEFAULT_GOAL := help

help: ## Say what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(STAMP) ## Put everything into .venv; a no-op when nothing changed

$(STAMP): pyproject.toml constraints.txt
	@echo "setup: .venv with $(PYTHON), versions from constraints.txt"
	@test -x $(BIN)/$(notdir $(PYTHON)) || $(PYTHON) -m venv --clear .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt uv
	@.ci/uv pip install --quiet --python $(BIN)/python --constraints constraints.txt \
	  --build-constraints constraints.txt $(GROUPS) --editable '.[all]'
	@rm -f .venv/.setup-* && touch $@

demo: setup ## See it work: servers, a worker, a provider; KEEP=1 leaves them up
	@KEEP=$(KEEP) $(BIN)/python -m llm_audit.demo

unit: setup ## Run the tests that need no server
	@$(BIN)/python -m pytest --forks 2 tests/unit

TESTS := tests
test: setup ## Run every test, against a real mongod and redis-server; TESTS=tests/faults some
	@$(BIN)/python -m pytest --forks $(PROCESSES) $(TESTS)

browser: setup ## Open every page of the viewer in Chromium, which it installs where it may
	@.ci/browser

coverage: setup ## Run every test, and measure which lines are run; there is a floor
	@$(BIN)/python -m pytest -n $(PROCESSES) --dist worksteal --cov

faults: setup ## Bring about every fault, for long, and try many inputs where any must do
	@FAULTS=long $(BIN)/python -m pytest -n 2 --dist worksteal tests/faults
	@FAULTS=long $(BIN)/python -m pytest -n 2 --dist worksteal -m "hypothesis or many" tests/unit tests/integration tests/web

celery-suite: setup ## Run Celery's own tests with and without the hooks, and print what differs
	@$(BIN)/python .ci/celery_suite.py

compat: setup ## Run the core tests on every Celery, the lowest versions of all, and every Python
	@.ci/compat

neighbours: setup ## Run the tests beside what needs a venv of its own: arq, ddtrace, Django, flower …
	@.ci/neighbours

frameworks: setup ## Run the tests of LangChain, CrewAI and others, in three venvs of their own
	@.ci/frameworks

replay: setup ## Play all recorded traffic to the real clients, with and without capture, and print the table
	@PYTHONPATH=tests $(BIN)/python -m replay

lint: setup ## Check style and format
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check

types: setup ## Check the types of both packages
	@$(BIN)/mypy

bench: setup ## Measure recording beside its rivals and the floor
	@$(BIN)/python -m benchmarks.recording

figures: setup ## Measure everything that the docs show, for an hour or more, and put it into them
	@for benchmark in "recording --rounds 3 --calls 10000 --paced-calls 600" durability losses \
	  calling_thread celery_tasks coroutine_tasks index_prices queries redaction request_ends capture cold agent viewer viewer_beside; do \
	  FIGURES=docs/figures $(BIN)/python -m benchmarks.$$benchmark || exit 1; \
	done
	@FIGURES=docs/figures $(MAKE) --no-print-directory faults
	@$(BIN)/python -m benchmarks.figures

docs: setup ## Build the documentation into site/; a broken link is an error
	@$(BIN)/properdocs build --strict

screenshots: setup ## Take the pictures of README and docs, with Chromium, over the demo's data
	@$(BIN)/python .ci/screenshots.py

wheel-test: setup ## Check what is built: the sdist is whole, the wheel passes the tour
	@.ci/wheel-test

COMPILE_HERE := .ci/uv pip compile --quiet --upgrade --no-annotate --custom-compile-command 'make constraints'
COMPILE := $(COMPILE_HERE) --universal
constraints: ## Take the newest versions that pyproject.toml allows into constraints.txt, .ci/pins and docker/
	@$(COMPILE) --python-version 3.11 --all-extras $(GROUPS) --output-file constraints.txt pyproject.toml
	@$(MAKE) --no-print-directory pins image-requirements

# What is heavy, or excludes what the others ask for, has a venv and a file of versions of its own,
# for one Python: there are not all of them for each.
pins:
	@for group in frameworks frameworks-openai-2 frameworks-more; do \
	  $(COMPILE_HERE) --python-version 3.11 --extra celery --extra embedded --group tests --group $$group \
	    --output-file .ci/pins/$$group.txt pyproject.toml || exit 1; \
	done

# With hashes, as an image is built out of sight. constraints.txt cannot have them: pip would then
# ask for one of the checkout itself, which is installed as it is.
IMAGE := $(COMPILE) --python-version 3.13 --generate-hashes --constraint constraints.txt
image-requirements:
	@$(IMAGE) --extra celery --extra cli --extra metrics --extra openai --extra web --output-file docker/worker.txt pyproject.toml
	@echo hatchling | $(IMAGE) --output-file docker/build.txt -

audit: setup ## Ask the advisory database about every version in constraints.txt; needs the internet
	@.ci/uv tool run --quiet pip-audit@2.10.1 --strict --disable-pip --no-deps $(AUDIT) \
	  --requirement constraints.txt
