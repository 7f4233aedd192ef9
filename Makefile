# make install | test | test-openmmlab | lint | fuzz | demo | study | pretrain | pretrain-photos | clean
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
test test-openmmlab: export OMP_NUM_THREADS ?= 1

.DEFAULT_GOAL := help
OPENMMLAB ?= $(CURDIR)/.venv-openmmlab
OPENMMLAB_PYTHON ?= $(shell command -v python3.11 || command -v python3.10 || echo $(BASE_PYTHON))

.PHONY: help install test test-openmmlab lint check fuzz demo study pretrain pretrain-photos clean

help:  ## these lines
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 18

install:  ## set the environment up (seconds when it is)
ifeq ($(ACTIVE),)
	@test -x $(PYTHON) || $(BASE_PYTHON) -m venv $(ENVIRONMENT)
endif
	@$(PYTHON) tools/install.py

test: install  ## install, then run the tests
	$(PYTHON) -m pytest -n $(PYTEST_WORKERS) --dist loadfile -rs $(PYTEST_ARGS) </dev/null

test-openmmlab:  ## the tests on OpenMMLab's own packages, in an environment of their own
	@test -x $(OPENMMLAB)/bin/python || $(OPENMMLAB_PYTHON) -m venv $(OPENMMLAB)
	@$(OPENMMLAB)/bin/python tools/install.py --openmmlab
	PATH=$(OPENMMLAB)/bin:$$PATH $(OPENMMLAB)/bin/python -m pytest -n $(PYTEST_WORKERS) --dist loadfile -rs \
	    $(PYTEST_ARGS) </dev/null

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

PHOTO_SHARDS ?= ../shared/data/flickr8k
pretrain-photos: install  ## make what the photographs' model has learnt again (PHOTO_SHARDS=folder of captioned shards)
	$(PYTHON) projects/photos/pretrain.py --shards $(PHOTO_SHARDS)/train-*.tar $(PRETRAIN_ARGS)
	$(PYTHON) projects/photos/make_benchmarks.py ../shared/data/coco_photos data/coco_photos
	$(PYTHON) projects/photos/gates.py --held-out $(PHOTO_SHARDS)/heldout-*.tar

clean:  ## remove what builds and tests leave (not .venv, data or work_dirs)
	rm -rf build dist *.egg-info .pytest_cache .ruff_cache
	find . -path './.venv*' -prune -o -name __pycache__ -type d -print0 | xargs -0 -r rm -rf
