# make install | test | lint | fuzz | demo | study | pretrain | clean
# The active virtual environment (or conda's) is used; .venv is made only where none is active.

SHELL := /bin/bash
BASE_PYTHON ?= python3
PYTEST_WORKERS ?= 2
PYTEST_ARGS ?=

ACTIVE := $(or $(VIRTUAL_ENV),$(CONDA_PREFIX),$(shell $(BASE_PYTHON) -c \
    'import sys; sys.prefix != sys.base_prefix and print(sys.prefix)' 2>/dev/null))
ENVIRONMENT := $(or $(ACTIVE),$(CURDIR)/.venv)
PYTHON := $(ENVIRONMENT)/bin/python
# so that `mim` and what it starts are those of the environment, active or not
export PATH := $(ENVIRONMENT)/bin:$(PATH)
# two test workers on two cores: more threads only get in each other's way
test: export OMP_NUM_THREADS ?= 1

.DEFAULT_GOAL := help
.PHONY: help install test lint check fuzz demo study pretrain clean

help:  ## these lines
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

install:  ## set the environment up (seconds when it is)
ifeq ($(ACTIVE),)
	@test -x $(PYTHON) || $(BASE_PYTHON) -m venv $(ENVIRONMENT)
endif
	@$(PYTHON) tools/install.py

test: install  ## install, then run the tests
	$(PYTHON) -m pytest -n $(PYTEST_WORKERS) --dist loadfile -rs $(PYTEST_ARGS) </dev/null

lint: install  ## ruff, rules and format
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .

check: lint test  ## lint, then test

fuzz: install  ## damaged files of every kind for some minutes (FUZZ_ARGS="--minutes 30 --seed 1")
	$(PYTHON) tests/fuzzing.py $(FUZZ_ARGS)

demo: install  ## install, make the shapes world, train, evaluate, draw
	$(PYTHON) projects/shapes_world/demo.py $(DEMO_ARGS)

study: install  ## install, re-run the thesis' study on the shapes world (hours, resumable)
	$(PYTHON) projects/shapes_world/study/run.py $(STUDY_ARGS)

pretrain: install  ## make the small CLIP's weights again, from nothing
	bash projects/shapes_world/pretrain.sh $(PRETRAIN_ARGS)

clean:  ## remove what builds and tests leave (not .venv, data or work_dirs)
	rm -rf build dist *.egg-info .pytest_cache .ruff_cache
	find . -path ./.venv -prune -o -name __pycache__ -type d -print0 | xargs -0 -r rm -rf
