# Each target makes what it needs; on a fresh Debian-like machine Python 3.11 to 3.13 and make are enough.
PYTHON ?= python3
VENV ?= .venv
TORCH_INDEX ?=
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
# Refuses a file that is not the one the lock was made from, and builds nothing.
LOCKED := $(PIP) --no-deps --only-binary :all: --require-hashes
# A thread a worker: two workers with two threads each wait for one another most of the time.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --durations 10

.PHONY: help quickstart test test-all coverage quality style docs bench fuzz chaos lock clean

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

# torch is installed by itself, so that a CPU build can be asked for (a fifth of the CUDA one's size):
# make test TORCH_INDEX="--index-url https://download.pytorch.org/whl/cpu". What both builds need is there before it, from the lock.
$(VENV)/ready: pyproject.toml constraints.txt locks/test.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if (3, 11) <= v < (3, 14) else f"Python {v[0]}.{v[1]} found; 3.11, 3.12 or 3.13 is needed: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV) || { echo "python3-venv is missing: apt-get install python3-venv"; exit 1; }
	$(LOCKED) -r locks/test.txt
	$(PIP) -c constraints.txt torch $(TORCH_INDEX)
	$(PIP) --no-deps --no-build-isolation -e .
	@touch $@

quickstart: $(VENV)/ready  ## train SmolLM2 on the embedded corpus and measure it before and after
	TRANSFORMERS_VERBOSITY=error HF_HUB_DISABLE_PROGRESS_BARS=1 HF_DATASETS_DISABLE_PROGRESS_BARS=1 PYTHONWARNINGS=ignore::FutureWarning $(BIN)/python recipes/quickstart.py

test: $(VENV)/ready  ## the fast tests
	$(PYTEST) -m "not slow"

test-all: $(VENV)/ready  ## every test
	$(PYTEST)

# pyright brings a Node.js of its own, which neither the tests nor the quickstart need.
$(VENV)/quality: $(VENV)/ready locks/quality.txt
	$(LOCKED) -r locks/quality.txt
	@touch $@

coverage: $(VENV)/quality  ## the fast tests with branch coverage of src/
	$(PYTEST) -m "not slow" --cov --cov-report term --cov-report html:build/coverage

quality: $(VENV)/quality  ## lint, format and types, check only
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

style: $(VENV)/quality  ## lint and format, and fix what can be fixed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(VENV)/docs: $(VENV)/ready
	$(PIP) -c constraints.txt -e '.[docs]'
	@touch $@

docs: $(VENV)/docs  ## the documentation's site, offline, into build/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet
	@echo "build/site/index.html is the site"

bench: $(VENV)/ready  ## every benchmark in a short form, and benchmarks/RESULTS.md
	$(BIN)/python benchmarks/page.py

CASES ?= 10000
fuzz: $(VENV)/ready  ## mutated files and random values against each parser; CASES=500 for fewer
	OMP_NUM_THREADS=1 $(BIN)/python tests/fuzz/run_fuzz.py --cases $(CASES)

KILLS ?= 20
chaos: $(VENV)/ready  ## kill -9 every long job at random moments, start it again, compare; KILLS=3 for fewer
	$(BIN)/python tests/chaos/run_chaos.py --kills $(KILLS)

COMPILE := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-emit-package torch --custom-compile-command "make lock" -c constraints.txt
lock:  ## locks/ anew, from pyproject.toml and constraints.txt; needs uv (pipx install uv)
	$(COMPILE) pyproject.toml --extra test --group environment -o locks/test.txt
	$(COMPILE) --group quality -o locks/quality.txt

clean:  ## remove what the targets made, the environment too
	rm -rf $(VENV) outputs build dist
