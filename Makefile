# `make help` lists the targets. PYTHON chooses the interpreter, VENV where things are installed.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

# constraints.txt holds what development and CI run: Python 3.11. Other Pythons take the ranges of
# pyproject.toml.
LOCKED = $(shell $(PYTHON) -c 'import sys; print("-c constraints.txt" if sys.version_info[:2] == (3, 11) else "")')

# What the demo exports and measures. Untrained: it needs no network and shows size and time.
DEMO = --variant a1 --multiplier 0.5 --res 160
# Enough for a first picture; the defaults are for numbers to keep.
QUICK = --launches 6 --max-launches 6 --runs 20 --min-seconds 0.5 --warmup-seconds 0.5

# The demo on a software phone, in a folder of its own: its numbers never stand among real ones.
PHONE_DEMO = build/demo-phone
ON_PHONE = --device adb --benchmark-binary "$$BENCHMARK_BINARY" \
  --models $(PHONE_DEMO)/models --results $(PHONE_DEMO)/results

# Tests with three processes, also on two cores: those of phones wait for most of their time, and
# TensorFlow takes half a GiB in each. In the order of tests/conftest.py, the longest files first.
# Without bytecode on the disk each process would compile all tests anew, 5 s of its time.
PYTEST = PYTHONDONTWRITEBYTECODE= $(BIN)/pytest
WORKERS = -n 3 --dist loadfile --no-loadscope-reorder

.PHONY: help setup demo demo-phone test test-fast test-long check bench lock dist clean
.DEFAULT_GOAL := help

help:  ## list the targets
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1\t\2/p' Makefile | expand -t 20

setup: $(VENV)/.base  ## install the tool into .venv

demo: $(VENV)/.base  ## export a network as float32 and int8, measure both here, print the table
	$(BIN)/mnasnet export $(DEMO) --weights random --float32 --int8 --calibration examples/photos
	$(BIN)/mnasnet bench $(DEMO) --float32 --int8 $(QUICK)
	$(BIN)/mnasnet table

demo-phone: $(VENV)/.dev  ## the same over adb, on a software phone that runs on this computer (Linux)
	$(BIN)/mnasnet export $(DEMO) --weights random --float32 --int8 --calibration examples/photos \
	  --out $(PHONE_DEMO)/models
	$(BIN)/python tests/phone/softphone/try_it.py --phone pixel-8 -- sh -exc ' \
	  $(BIN)/mnasnet devices; \
	  $(BIN)/mnasnet bench $(ON_PHONE) $(QUICK); \
	  $(BIN)/mnasnet table --models $(PHONE_DEMO)/models --results $(PHONE_DEMO)/results'
	@echo 'SOFTWARE PHONE: all of this ran on this computer; the numbers are in $(PHONE_DEMO)/results only'

test: $(VENV)/.extras  ## all tests but the longest (installs TensorFlow; under 6 minutes)
	$(PYTEST) $(WORKERS) -m "not long"

test-fast: $(VENV)/.extras  ## the quick tests, with TensorFlow out of reach (under 20 s)
	$(PYTEST) $(WORKERS) --no-tensorflow -m "not (slow or tensorflow or long)" --durations=5 --durations-min=0.5

test-long: $(VENV)/.extras  ## everything, the oracles that take minutes included
	$(PYTEST)

check: $(VENV)/.extras  ## lint, format, types, documentation
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/mnasnet table --check README.md
	$(BIN)/pytest -q tests/test_docs.py -m "not (slow or long)"

bench: $(VENV)/.extras  ## how fast the tool itself is, against TensorFlow's converter
	$(BIN)/python benchmarks/run.py

lock:  ## renew constraints.txt from the newest versions that pyproject.toml allows
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11) and "make lock needs Python 3.11")'
	rm -rf build/lock
	$(PYTHON) -m venv build/lock
	build/lock/bin/pip install -q --upgrade pip
	build/lock/bin/pip install -q '.[tensorflow,plot,dev]'
	{ echo '# What development and CI run, on Python 3.11. Written by `make lock`.'; \
	  build/lock/bin/pip freeze | grep -E '^[A-Za-z0-9._-]+==[A-Za-z0-9.]+$$' | grep -v '^mnasnet'; \
	} > build/constraints.txt
	mv build/constraints.txt constraints.txt
	rm -rf build/lock

dist: $(VENV)/.extras  ## build the wheel and the source archive into dist/
	rm -rf build/lib dist
	$(BIN)/python -m build

clean:  ## remove everything that was made, but not models/ and results/
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' || { \
	  echo "error: $$($(PYTHON) --version 2>&1) will not do: this needs Python 3.10 to 3.13" \
	    "(choose one: make setup PYTHON=python3.11)" >&2; exit 3; }
	@$(PYTHON) -c 'import ensurepip, venv' 2> /dev/null || { \
	  echo "error: this Python cannot make environments: sudo apt-get install python3-venv" >&2; \
	  exit 3; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.base: $(VENV)/bin/python pyproject.toml constraints.txt
	@echo "installing the tool into $(VENV) (a minute at most)"
	$(BIN)/pip install -q $(LOCKED) -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.base
	@echo "installing the development tools into $(VENV) (a minute or two)"
	$(BIN)/pip install -q $(LOCKED) -e '.[dev]'
	@touch $@

$(VENV)/.extras: $(VENV)/.base
	@echo "installing TensorFlow and the development tools into $(VENV) (some minutes)"
	$(BIN)/pip install -q $(LOCKED) -e '.[tensorflow,plot,dev]'
	@touch $(VENV)/.dev $@
