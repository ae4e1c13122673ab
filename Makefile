# Every target works in a fresh clone: .venv is made and filled if it is missing or pyproject.toml has changed.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Two processes run the tests, with one thread each: more threads would wait for each other.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 2 --dist loadfile
# Training is the same to the bit on a CPU only, so these tests see no GPU.
ON_CPU := CUDA_VISIBLE_DEVICES= $(PYTEST)
DEMO ?= demo

.PHONY: demo test test-all test-gpu lint format bench peers clean

demo: $(VENV)/installed
	$(BIN)/fedcli demo --out $(DEMO)

test: $(VENV)/installed
	$(ON_CPU) -m "not slow and not gpu"

test-all: $(VENV)/installed peers
	$(ON_CPU) -m "not gpu"
	$(PYTEST) -m gpu

test-gpu: $(VENV)/installed
	$(PYTEST) -m gpu

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/installed peers
	$(BIN)/python benchmarks/aggregate
	$(BIN)/python benchmarks/aggregate/replay.py
	$(BIN)/python benchmarks/compact.py
	$(BIN)/python benchmarks/masking.py
	$(BIN)/python benchmarks/metrics.py
	$(BIN)/python benchmarks/prepare
	$(BIN)/python benchmarks/rounds.py
	$(BIN)/python benchmarks/sites.py
	$(BIN)/python benchmarks/store.py
	$(BIN)/python benchmarks/train

# What fedcli is compared with, each in its own environment; it names those that cannot be installed.
peers: $(VENV)/installed
	$(BIN)/python benchmarks/peers.py

clean:
	rm -rf $(VENV) .bench $(DEMO)

$(VENV)/installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable ".[dev]"
	touch $@
