# Two commands for a newcomer: `make demo` and `make test`. Each sets itself up.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
TRAIN  := $(VENV)/.train
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps
ENGINE ?= onnx
DEPLOY := .venv-deploy/$(ENGINE)
# One test file a library, and the main job from images to a report.
LOWEST := tests/test_imports.py tests/test_demo.py tests/test_locks.py tests/artefacts tests/cli/test_app.py \
          tests/data/test_breakhis.py tests/data/test_folder.py tests/evaluation tests/explanation/test_cam.py \
          tests/export/test_export.py tests/networks tests/pixels/test_reading.py tests/pixels/test_stain.py \
          tests/reporting/test_report.py tests/training/test_estimator.py tests/training/test_train.py \
          tests/training/test_tracking.py
LOCK   := uv pip compile pyproject.toml --universal --python-version 3.11 --no-emit-index-url \
          --generate-hashes --custom-compile-command "make lock"

.PHONY: help install demo test lint check format docs figures bench results-pages deploy-check lowest newest \
        coverage dist version lock clean

help:            ## List these commands
	@grep -E '^[a-z-]+: .*##|^[a-z-]+:  +##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | sort

$(READY): requirements.lock pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing the locked packages of every extra into $(VENV) (once; some minutes) ..."
	$(PIP) --require-hashes -r requirements.lock
	$(PIP) --no-build-isolation --editable .
	@touch $@ $(TRAIN)

# What the demo needs: a part of the above, or all of it where that is there already.
$(TRAIN): requirements-train.lock pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@if [ -e $(READY) ]; then $(MAKE) --no-print-directory $(READY); else \
	    echo "Installing eosin and PyTorch into $(VENV) (once; PyTorch is large, a few minutes) ..." \
	    && $(PIP) --require-hashes -r requirements-train.lock \
	    && $(PIP) --no-build-isolation --editable .; fi
	@touch $@

install: $(READY) ## Set up .venv with every extra, from the lock

demo: $(TRAIN)   ## Synthetic data, split, train, predict, evaluate, report
	$(BIN)/eosin demo

test: $(READY)   ## Run the tests (offline, no GPU)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal -m "not weekly" --durations 10

lint: $(READY)   ## Format, lint, strict types, import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy --no-incremental
	$(BIN)/lint-imports
	$(BIN)/codespell
	@if [ -x $(BIN)/hadolint ]; then $(BIN)/hadolint Dockerfile; else echo "no hadolint here: Dockerfile not linted"; fi

check: lint      ## All of lint, and the tests with warnings as errors
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -m "not weekly" -W error

format: $(READY) ## Format and fix what a tool can fix
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(READY)   ## Build the documentation into site/; a warning is an error
	NO_MKDOCS_2_WARNING=1 OMP_NUM_THREADS=1 $(BIN)/python -m mkdocs build --quiet --strict

figures: $(READY) ## Draw the pictures of the documentation and the README again
	$(BIN)/python docs/figures
	$(BIN)/python docs/readme_pictures.py

# The pages of the studies in docs/results.md: hours, and BREAKHIS, IDC and WEIGHTS are folders.
results-pages: $(READY) ## Make the studies' pages again (BREAKHIS=, IDC=, WEIGHTS=)
	@test -d "$(BREAKHIS)" -a -d "$(IDC)" -a -d "$(WEIGHTS)" || \
	    { echo "name three folders: make results-pages BREAKHIS=... IDC=... WEIGHTS=...; see docs/results.md"; exit 2; }
	@study() { EOSIN_WEIGHTS="$(WEIGHTS)" $(BIN)/eosin study configs/study-$$1.toml -o runs/results/$$1 --data "$$2"; }; \
	    study new-patients "$(BREAKHIS)" && study new-patients-idc "$(IDC)" && \
	    study stain "$(BREAKHIS)" && study stain-idc "$(IDC)"

bench: $(READY)  ## Every benchmark; adds its bars to benchmarks/history.csv
	$(BIN)/python benchmarks/run.py --record

$(DEPLOY)/.ready: requirements-$(ENGINE).lock
	$(PYTHON) -m venv --clear $(DEPLOY)
	@echo "Installing what an exported Run needs into $(DEPLOY) (once; a minute or two) ..."
	$(DEPLOY)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r $<
	@touch $@

deploy-check: $(READY) $(DEPLOY)/.ready  ## Use exported Runs where PyTorch is not (ENGINE=onnx or openvino)
	OMP_NUM_THREADS=1 $(BIN)/python tests/deploy/check_without_torch.py --engine $(ENGINE) --venv $(DEPLOY)

.venv-lowest/.ready: pyproject.toml
	uv venv --quiet --clear --python 3.11 .venv-lowest
	@echo "Installing the lowest versions that pyproject.toml allows (once; PyTorch is large) ..."
	uv pip install --quiet --python .venv-lowest --resolution lowest-direct -r pyproject.toml --all-extras --group dev
	@touch $@

lowest: .venv-lowest/.ready  ## The lower bounds are true: tests with the lowest versions (needs uv)
	OMP_NUM_THREADS=1 PYTHONPATH=src .venv-lowest/bin/python -m pytest -p no:cacheprovider \
	    -W default::DeprecationWarning -W default::FutureWarning -m "not slow" $(LOWEST)

.venv-newest/.ready: pyproject.toml
	uv venv --quiet --clear --python 3.11 .venv-newest
	@echo "Installing the newest versions that there are (once; PyTorch is large) ..."
	uv pip install --quiet --python .venv-newest --upgrade -r pyproject.toml --all-extras --group dev
	@touch $@

newest: .venv-newest/.ready  ## The same tests with the newest versions that there are (needs uv)
	OMP_NUM_THREADS=1 PYTHONPATH=src .venv-newest/bin/python -m pytest -p no:cacheprovider -m "not slow" $(LOWEST)

coverage: $(READY)  ## All tests with line and branch coverage; below the floor it fails
	rm -f .coverage .coverage.*
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --cov --cov-report=term

dist: $(READY)   ## Wheel and sdist in dist/, checked
	rm -rf dist
	$(BIN)/python -m build --no-isolation --outdir dist .
	$(BIN)/twine check --strict dist/*
	$(BIN)/check-wheel-contents dist/*.whl

version: $(READY)  ## Copy the version to CITATION.cff and the conda recipe
	@version=$$($(BIN)/python -c "from eosin.version import __version__; print(__version__)") \
	    && sed -i "s/^version: .*/version: $$version/" CITATION.cff \
	    && sed -i "s/version = \".*\"/version = \"$$version\"/" packaging/conda/meta.yaml

lock:            ## Resolve exact versions again (needs uv)
	$(LOCK) --all-extras --group dev -o requirements.lock
	$(LOCK) --extra train --group build --constraint requirements.lock -o requirements-train.lock
	$(LOCK) --extra onnx --constraint requirements.lock -o requirements-onnx.lock
	$(LOCK) --extra openvino --constraint requirements.lock -o requirements-openvino.lock
	$(LOCK) --extra onnx --extra serve --extra slides --constraint requirements.lock -o requirements-serve.lock

clean:           ## Remove the virtual environment and tool caches
	rm -rf $(VENV) .venv-deploy .venv-lowest .venv-newest dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
