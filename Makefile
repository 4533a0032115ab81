# One command from a fresh machine: Python 3.11+ and make, nothing else.
# Every target first makes its environment; it is remade when pyproject.toml changes.

PYTHON  ?= python3
WORKERS ?= 2
BIN     := .venv/bin
MIN     := .venv-min/bin
PEERS   := .venv-peers/bin
READY   := .venv/.ready
MIN_READY := .venv-min/.ready
PEERS_READY := .venv-peers/.ready

# What `test-min` runs: everything that touches torch, timm or numpy closely.
SAMPLE := tests/targets tests/ops tests/ablation tests/data tests/stats tests/demos \
  tests/cli tests/ranking/test_rank.py tests/backends tests/graphs tests/anatomy

# Small tensors on shared cores run several times slower on many threads than on one.
ONE_THREAD := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1
PYTEST := $(ONE_THREAD) $(BIN)/python -m pytest

# Another active environment must not leak into ours.
unexport VIRTUAL_ENV PYTHONHOME CONDA_PREFIX
.DELETE_ON_ERROR:
.PHONY: help demo test test-heavy test-min lint types bench bench-peers bench-published \
  conformance docs clean

help:  ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-15s %s\n", $$1, $$2}' Makefile

demo: $(READY)  ## train two small models and rank their parts
	$(BIN)/surgery demo

test: $(READY)  ## every test but the heavy ones
	$(PYTEST) -m "not heavy" -n $(WORKERS) --dist worksteal

test-heavy: $(READY)  ## the tests that take minutes
	$(PYTEST) -m heavy

test-min: $(MIN_READY)  ## a fixed sample at the lowest versions declared
	$(ONE_THREAD) $(MIN)/python -m pytest -m "not heavy" -W default \
	  -n $(WORKERS) $(SAMPLE)

lint: $(READY)  ## ruff: style and format
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(READY)  ## mypy and pyright, both strict
	$(BIN)/mypy
	$(BIN)/pyright

bench: $(READY)  ## how long a sweep takes, and what a cut costs
	$(BIN)/python -m benchmarks.sweep
	$(ONE_THREAD) $(BIN)/python -m benchmarks.sweep --memory
	$(ONE_THREAD) $(BIN)/python -m benchmarks.cuts

bench-peers: $(PEERS_READY)  ## the same sweeps by captum, nnsight and pyvene
	$(PEERS)/python -m benchmarks.sweep --peers

bench-published: $(READY)  ## what seven papers say of parts, on small models
	$(ONE_THREAD) $(BIN)/python -m benchmarks.published

conformance: $(READY)  ## every part of whole model zoos; RESULTS.md says what came out
	$(ONE_THREAD) $(BIN)/python -m benchmarks.conformance
	$(ONE_THREAD) $(BIN)/python -m benchmarks.conformance.fused

docs: $(READY)  ## the documentation, into site/
	$(BIN)/mkdocs build --strict --config-file surgery/docs/mkdocs.yml

clean:  ## remove what the other targets made, environments included
	rm -rf .venv .venv-min .venv-peers .cache site dist runs .mypy_cache .pytest_cache .ruff_cache

$(READY): pyproject.toml surgery/_version.py
	@$(call new_venv,.venv)
	$(BIN)/python -m pip install --quiet "uv>=0.7"
	$(BIN)/uv pip install --python $(BIN)/python --editable '.[hf]' --group dev
	@touch $@

$(MIN_READY): pyproject.toml surgery/_version.py
	@rm -rf .venv-min  # what is newer than the lowest would be left as it is
	@$(call new_venv,.venv-min)
	$(MIN)/python -m pip install --quiet "uv>=0.7"
	$(MIN)/uv pip install --python $(MIN)/python --resolution lowest-direct \
	  --only-binary :all: --no-binary torch-surgery --editable '.[hf]' --group test
	@touch $@

$(PEERS_READY): pyproject.toml surgery/_version.py
	@$(call new_venv,.venv-peers)
	$(PEERS)/python -m pip install --quiet "uv>=0.7"
	$(PEERS)/uv pip install --python $(PEERS)/python --editable '.[hf]' --group peers
	@touch $@

# A working environment in that folder, or a clear word on why there is none.
define new_venv
$(1)/bin/python -c "import pip" 2>/dev/null || { \
  $(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11))" || { \
    echo "surgery needs Python 3.11 or newer, $(PYTHON) is" \
      "$$($(PYTHON) --version 2>&1); say which: make PYTHON=python3.12" >&2; exit 1; }; \
  echo "making $(1) with $$($(PYTHON) --version)"; \
  $(PYTHON) -m venv --clear $(1) || { \
    echo "$(PYTHON) cannot make environments; on Debian: apt install python3-venv" >&2; \
    exit 1; }; }
endef
