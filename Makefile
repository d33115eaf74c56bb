# What a person types here. Every target sets up what it needs by itself, and asks nothing.
.DEFAULT_GOAL := help
.PHONY: help setup demo test check slow kills bench bench-learners lock clean

# Whatever these tools keep, they keep in the checkout.
export UV_CACHE_DIR := $(CURDIR)/.cache/uv
export UV_PYTHON_INSTALL_DIR := $(CURDIR)/.cache/python
export PIP_CACHE_DIR := $(CURDIR)/.cache/pip
export XDG_CACHE_HOME := $(CURDIR)/.cache/xdg
export MPLCONFIGDIR := $(CURDIR)/.cache/matplotlib
export HF_HOME := $(CURDIR)/.cache/huggingface
export TORCHINDUCTOR_CACHE_DIR := $(CURDIR)/.cache/torchinductor
export TRITON_HOME := $(CURDIR)/.cache/triton
export PYTEST_DEBUG_TEMPROOT := $(CURDIR)/build/tests

BIN := .venv/bin
# Two processes test at once, and small networks gain nothing from more threads each.
TEST := mkdir -p build/tests && OMP_NUM_THREADS=1 $(BIN)/python -m pytest

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-15s %s\n", $$1, $$2}' Makefile

setup: ## make .venv ready (every other target does this first)
	@python3 tools/setup_env.py

demo: export APPLIANCE_HOME ?= $(CURDIR)/build/demo
demo: setup ## the whole circle in the twin: collect, learn, evaluate, report (ARGS="--quick" for a minute)
	@$(BIN)/appliance demo $(ARGS)

test: setup ## the tests, without the slow ones
	@python3 tools/setup_env.py --database --browser --terminal
	@$(TEST) -n 2 -m "not slow and not hardware" $(ARGS)

check: setup ## format, lint, types and import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

slow: setup ## the tests that train real policies or repeat many crashes
	@mkdir -p build/tests && $(BIN)/python -m pytest -m "slow and not hardware" $(ARGS)

kills: export APPLIANCE_KILLS = 1000
kills: setup ## a thousand kills at random moments (a quarter of an hour)
	@$(TEST) -n 2 tests/test_kills.py $(ARGS)

bench: export MUJOCO_GL ?= egl
bench: setup ## measure against the usual way, both in one process
	@for file in $(filter-out %/bench_learners.py,$(wildcard tests/bench/bench_*.py)); do $(BIN)/python -m tests.bench.$$(basename $$file .py) || exit 1; done

bench-learners: export APPLIANCE_HOME ?= $(CURDIR)/build/learners
bench-learners: export MUJOCO_GL ?= egl
bench-learners: setup ## methods beside each other: success, smoothness, pace (ARGS="--recipe all"; hours, and it goes on where it was)
	@$(BIN)/python -m tests.bench.bench_learners $(ARGS)

lock: setup ## write requirements.lock anew from pyproject.toml
	@.cache/bootstrap/bin/uv pip compile pyproject.toml --extra learn --extra twin --extra exchange --extra lerobot --extra view --extra hardware --extra postgres --extra serve --extra jobs --extra screen --extra dev --generate-hashes --python-version 3.12 --no-annotate --no-header -q -o requirements.lock

clean: ## remove what was built, the demo's data too (.venv and .cache stay)
	rm -rf build .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
