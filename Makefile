PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: demo test lint bench fuzz pictures clean

demo: $(INSTALLED)  ## analyze the sample run and say where the pictures are
	$(BIN)/ptyconv analyze sample_data/ptyrad-1.0 -o demo_output

test: $(INSTALLED)
	$(BIN)/pytest

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(INSTALLED)  ## BENCH=large for an object of (1, 20, 1200, 1200)
	$(BIN)/python tests/support/bench.py $(if $(BENCH),--$(BENCH))

fuzz: $(INSTALLED)  ## COUNT=20000 damaged files instead of 5000, SEED=1 others
	$(BIN)/python tests/support/fuzz.py $(if $(COUNT),--count $(COUNT)) $(if $(SEED),--seed $(SEED))

pictures: $(INSTALLED)  ## what the README shows, drawn again
	$(BIN)/python tests/support/readme_pictures.py

clean:
	rm -rf $(VENV) build *.egg-info demo_output bench_output .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamp, not the folder, is the target: a broken installation is tried again.
$(INSTALLED): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[dev]'
	touch $@
