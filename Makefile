PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

# Tests take from milliseconds to seconds: a process that has done its share takes over some of another's.
PYTEST := $(BIN)/pytest -n auto --maxprocesses 4 --dist worksteal

# What is wrong in a page, as a link that leads nowhere, is an error.
SPHINX := $(BIN)/sphinx-build --quiet --fail-on-warning --keep-going --builder html docs build/docs

.PHONY: help demo test test-long test-gpu lint docs bench fuzz evidence pictures clean

help:  ## list what can be made
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 18

demo: $(INSTALLED)  ## analyze the sample run and draw its pictures
	@echo "Analyzing the sample run, sample_data/atoms: 10 checkpoints of PtyRAD 1.0."
	$(BIN)/ptyconv analyze sample_data/atoms -o demo_output
	$(BIN)/ptyconv report sample_data/atoms --results demo_output -o demo_output -q
	@echo "The pictures are demo_output/convergence.png and trajectory.png. The page to send, with the atoms iteration by"
	@echo "iteration, is demo_output/report.html: open it in a browser."

test: $(INSTALLED)  ## run the quick tests, on all cores
	@echo "Running the tests, on all cores; what fails is shown here. Those that take minutes: make test-long."
	@$(PYTEST)
	@echo "All tests passed. What they wrote was in temporary folders, and is gone."

test-long: $(INSTALLED)  ## run the tests that take minutes
	@echo "Running the long tests: hundreds of damaged files, slow writers, many random examples."
	@$(PYTEST) -m "long or hypothesis" --hypothesis-profile=long
	@echo "All long tests passed. What they wrote was in temporary folders, and is gone."

test-gpu: $(INSTALLED)  ## run the tests that need a CUDA device, and print what they measure
	@echo "Running the tests on a GPU, one after the other; without one they skip. What they measure is printed."
	@$(BIN)/pytest -m gpu -rs --durations=0 tests/gpu

lint: $(INSTALLED)  ## check style, types and spelling, and build the docs, in which every link must lead somewhere
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/codespell
	@$(SPHINX) -E
	@echo "Every link within the docs leads somewhere."

docs: $(INSTALLED)  ## build the docs as a site, without a network
	@$(SPHINX)
	@echo "The site begins at build/docs/index.html."

bench: $(INSTALLED)  ## measure how long things take; BENCH=large for an object of (1, 20, 1200, 1200)
	$(BIN)/python tests/support/bench.py $(if $(BENCH),--$(BENCH))

fuzz: $(INSTALLED)  ## damage 5000 files in turn; COUNT=20000 for more, SEED=1 for others
	$(BIN)/python tests/support/fuzz.py $(if $(COUNT),--count $(COUNT)) $(if $(SEED),--seed $(SEED))

evidence: $(INSTALLED)  ## try the verdict on runs whose truth is known, and write the table of docs/verdict.md
	$(BIN)/python tests/support/evidence.py

pictures: $(INSTALLED)  ## draw the pictures of README and docs again, and run the commands and the notebook they show
	$(BIN)/python tests/support/readme_pictures.py
	$(BIN)/python tests/support/shown.py
	$(BIN)/python tests/support/notebook.py

clean:  ## remove what was made, and the installation
	rm -rf $(VENV) build *.egg-info demo_output bench_output .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamp, not the folder, is the target: a broken installation is tried again.
$(INSTALLED): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[dev]'
	touch $@
