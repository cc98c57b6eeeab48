# The commands of this repository. `make help` lists them.
# Everything is installed into .venv in this folder. Nothing outside this folder changes, except that
# `make test`, run as root, installs Debian packages that the tests use (see tests/tools.sh).

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c

PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
# The programs of .venv come first: its Python, and the Node and cdk that are linked there.
export PATH := $(CURDIR)/$(BIN):$(PATH)
# Always keep compiled Python files: the tests start thousands of processes.
unexport PYTHONDONTWRITEBYTECODE
PYTHON313 ?= $(shell ls -d $(HOME)/.pyenv/versions/3.13*/bin/python3.13 2>/dev/null | tail -n 1 | grep . || command -v python3.13)
IMAGES ?= local
TEST_ARGS ?=
FUZZ_SECONDS ?= 600
FUZZ_ARGS ?=
CHAOS_ARGS ?=
PROOF_ARGS ?=
MUTANTS_ARGS ?=

.PHONY: help setup demo test test-runner check fuzz chaos prove-on-aws mutants bench pictures docs dist format lock clean

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

setup: .venv/.ready .venv/.toolchain ## install the dependencies of `scar` and `cdk` into this folder

demo: setup ## run the video example on the embedded cloud: one video, 68 images, 68 results (IMAGES=hub: images from Docker Hub)
	@$(BIN)/python examples/video-process/demo.py --images $(IMAGES)

test: setup .venv/.dev build/aws-lambda-rie/.ready build/axe-core/.ready ## run all tests (TEST_ARGS="tests/unit -k name" selects tests)
	@sh tests/tools.sh
	@$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder $(TEST_ARGS)

test-runner: build/python3.13/.ready ## run the runner's tests with AWS Lambda's Python version (PYTHON313=/path/to/python3.13)
	@build/python3.13/bin/python -m pytest -n auto --dist loadfile --no-loadscope-reorder -p no:cacheprovider \
	  $(or $(TEST_ARGS),$(wildcard $(foreach kind,unit faults,tests/$(kind)/runtime tests/$(kind)/containers)))

check: .venv/.dev .venv/.toolchain ## check formatting, lint, types, import rules, and known vulnerabilities of dependencies
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache
	@$(BIN)/python -m tests.vulnerabilities

fuzz: setup .venv/.dev ## test hostile images, responses, events and files (FUZZ_SECONDS=600, FUZZ_ARGS="TARGET --seed N")
	@$(BIN)/python -m tests.fuzz --seconds $(FUZZ_SECONDS) $(FUZZ_ARGS)

bench: setup .venv/.dev ## measure speed as ratios, side by side in one run; write build/bench.json
	@$(BIN)/python -m benchmarks

chaos: setup .venv/.dev ## inject 1,000 faults into the embedded cloud, double events, send many files to a queue, and check a report (2 hours; CHAOS_ARGS="--faults 100")
	@sh tests/tools.sh
	@$(BIN)/python -m tests.chaos $(CHAOS_ARGS)

prove-on-aws: setup .venv/.dev ## deploy, run and remove all examples in your AWS account (PROOF_ARGS="--local": on the embedded cloud)
	@$(BIN)/python -m tests.proof $(PROOF_ARGS)

mutants: setup .venv/.dev ## insert small faults into a copy of the code: do the tests notice? (half an hour; MUTANTS_ARGS="--only fdl")
	@sh tests/tools.sh
	@$(BIN)/python -m tests.mutants $(MUTANTS_ARGS)

pictures: setup .venv/.dev ## regenerate the pictures of the README from real runs on the embedded cloud
	@$(BIN)/python -m docs.pictures.make

docs: .venv/.dev ## build the documentation site into build/site; a warning is an error
	@$(BIN)/python -m docs.site

format: .venv/.dev ## format the sources
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

dist: .venv/.made ## build the wheel and the source distribution into dist/
	@rm -rf dist; $(BIN)/python -m pip install --quiet --disable-pip-version-check build
	@$(BIN)/python -m build --outdir dist .

lock: .venv/.dev ## regenerate requirements*.txt from pyproject.toml and requirements*.in
	@$(BIN)/python -m pip install --quiet uv
	@compile="$(BIN)/uv pip compile --quiet --upgrade --python-version 3.11 --no-header --no-annotate \
	    --no-emit-index-url --no-emit-find-links"; \
	  $$compile pyproject.toml --all-extras -o requirements.txt; \
	  $$compile requirements-dev.in -o requirements-dev.txt
	@$(BIN)/uv pip compile --quiet --generate-hashes --python-version 3.13 --no-header --no-annotate \
	  --no-emit-index-url --no-emit-find-links -c requirements.txt toolchain/requirements-runner.in -o toolchain/requirements-runner.txt

clean: ## remove everything that these commands have created
	rm -rf .venv build dist cdk.out *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

# --- prerequisites of the commands ---

.venv/.made:
	@test -n "$(PYTHON)" || { echo "make: Python 3.11 or newer is required, but no python3 was found on the PATH" >&2; exit 2; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "make: Python 3.11 or newer is required, but $(PYTHON) is older. Use another one: make PYTHON=/path/to/python3.11" >&2; exit 2; }
	@"$(PYTHON)" -m venv .venv || \
	  { echo "make: $(PYTHON) cannot create a virtual environment (on Debian and Ubuntu: apt install python3-venv)" >&2; rm -rf .venv; exit 2; }
	@touch $@

.venv/.ready: .venv/.made requirements.txt pyproject.toml
	@echo "Installing the Python packages of requirements.txt into .venv …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

.venv/.dev: .venv/.ready requirements-dev.txt
	@echo "Installing the Python packages of requirements-dev.txt into .venv …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@

build/python3.13/.ready: requirements-dev.txt
	@test -n "$(PYTHON313)" || { echo "make: Python 3.13 was not found. Specify its path: make PYTHON313=/path/to/python3.13" >&2; exit 2; }
	@echo "Installing the dependencies of the runner's tests into build/python3.13 …"
	@"$(PYTHON313)" -m venv $(@D)
	@$(@D)/bin/python -m pip install --quiet --disable-pip-version-check -c requirements-dev.txt \
	  boto3 ministack isal backports.zstd wsgidav cheroot pytest pytest-xdist pytest-timeout
	@touch $@

# AWS's program that emulates Lambda, for the tests of assembled images. Without it, they are skipped.
build/aws-lambda-rie/.ready: .venv/.made tests/aws-lambda-rie.txt
	@echo "Downloading AWS's Lambda Runtime Interface Emulator (tests/aws-lambda-rie.txt) into build/aws-lambda-rie …"
	@rm -rf $(@D); mkdir -p $(@D); \
	$(BIN)/python -m pip download --quiet --disable-pip-version-check --no-deps --require-hashes --only-binary=:all: \
	  -r tests/aws-lambda-rie.txt -d $(@D) || \
	{ echo "make: the download failed: the tests of assembled images that need it will be skipped" >&2; exit 0; }; \
	$(BIN)/python -m zipfile -e $(@D)/*.whl $(@D)/wheel; \
	mv $(@D)/wheel/samcli/local/rapid/aws-lambda-rie-* $(@D)/; chmod 755 $(@D)/aws-lambda-rie-*; \
	rm -rf $(@D)/wheel $(@D)/*.whl; touch $@

# axe-core, for the tests of the report's page. Without it, its accessibility is not checked.
build/axe-core/.ready: .venv/.toolchain tests/axe-core/package-lock.json
	@echo "Fetching axe-core with npm into build/axe-core …"
	@$(BIN)/python -m tests.axe_core || echo "make: axe-core could not be fetched: the tests that need it will be skipped" >&2
	@mkdir -p $(@D); touch $@

# The CDK CLI, Graphviz and the runner's libraries, into .venv.
.venv/.toolchain: .venv/.ready toolchain/package-lock.json toolchain/requirements-runner.txt
	@$(BIN)/python -m toolchain
	@touch $@
