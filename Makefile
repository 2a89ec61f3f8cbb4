# Run `make help`. Needs Python 3.11 or newer and a package index; everything else is installed into .venv.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv pip
INSTALLED := $(VENV)/.installed
TORCH := $(VENV)/.torch
# The stack's commands need no virtual environment; where there is one, its Python is new enough.
STACK = PYTHONPATH=include $(or $(wildcard $(BIN)/python),$(PYTHON)) -m nightshift.stack
YES = $(filter-out 0 no false,$(1))
COMPILE := compile pyproject.toml --universal --generate-hashes --no-header --quiet --upgrade

.DEFAULT_GOAL := help
.PHONY: help setup torch demo test test-unit test-all test-stack mutation check format airflow lock aws-double bench bench-training clean
.PHONY: env up down ps doctor-stack logs trigger open

help:  ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(INSTALLED): requirements.txt requirements-uv.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Nightshift needs Python 3.11, 3.12 or 3.13; '$(PYTHON)' is $$($(PYTHON) --version). Try: make setup PYTHON=python3.12" >&2; exit 1; }
	@echo "setup: creating $(VENV) and installing the locked packages (about a minute)"
	@$(PYTHON) -m venv $(VENV) || { echo "'$(PYTHON) -m venv' failed: on Debian and Ubuntu install python3-venv first" >&2; exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-uv.txt
	@$(UV) install --quiet --compile-bytecode --python $(BIN)/python --require-hashes -r requirements.txt
	@$(UV) install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .
	@touch $@

setup: $(INSTALLED)  ## Install everything and prepare local state (Java if there is none, Airflow, MLflow)
	@$(BIN)/nightshift init

$(TORCH): $(INSTALLED) requirements-torch.txt
	@echo "torch: installing PyTorch (on Linux with CUDA: 5 GB on disk)"
	@$(UV) install --quiet --python $(BIN)/python --require-hashes -r requirements-torch.txt
	@touch $@

torch: setup $(TORCH)  ## Add PyTorch to what is installed, for models with the engine torch

demo: setup  ## Retrain the flight-delay model for three nights, from raw data to a deployed champion
	@$(BIN)/nightshift demo

test: setup  ## All tests but the long ones (under 10 minutes)
	@$(BIN)/pytest -n 2 --dist loadfile -m "not long and not stack and not torch"

test-unit: $(INSTALLED)  ## The fast tests: no Java, no servers, no models (under a minute)
	@$(BIN)/pytest -n auto -m "not thorough" tests/unit

test-all: torch check  ## Everything: PyTorch installed, linters, all tests, the demo from a fresh clone (under 40 minutes)
	@$(BIN)/pytest -n 2 --dist loadfile -m "not stack"

test-stack: $(INSTALLED)  ## The stack from a fresh clone: started, used, broken, stopped. Needs Docker (40 minutes)
	@$(BIN)/pytest tests/stack

mutation: $(INSTALLED)  ## Break the gates in a thousand small ways and see what no test notices [ONLY='nightshift.model.*'] (an hour)
	@$(BIN)/python tests/mutation/mutate.py $(if $(ONLY),'$(ONLY)')

check: $(INSTALLED)  ## Linters, types and import rules, as CI runs them
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/hadolint Dockerfile
	@$(BIN)/shellcheck include/nightshift/jobs/*.sh

format: $(INSTALLED)  ## Format the code
	@$(BIN)/ruff check --fix --quiet
	@$(BIN)/ruff format

airflow: setup  ## Airflow's UI on http://127.0.0.1:8080, with the DAGs of this folder; Ctrl-C stops it
	@source .nightshift/env.sh && exec airflow standalone

env:  ## The docker-compose stack: write .env with random secrets, once
	@$(STACK) env

up:  ## Start the stack (Airflow, Postgres, MinIO, Spark, MLflow) and wait until it is healthy [HISTORY=1]
	@$(STACK) up $(if $(call YES,$(HISTORY)),--history)

down:  ## Stop the stack; its data stays, but for VOLUMES=1
	@$(STACK) down $(if $(call YES,$(VOLUMES)),--volumes)

ps:  ## What of the stack is up, and the memory it uses
	@$(STACK) ps

doctor-stack:  ## Whether the stack is as it must be, and what to do where it is not
	@$(STACK) doctor

logs:  ## The stack's last log lines [SERVICE=mlflow] [FOLLOW=1]
	@$(STACK) logs $(if $(SERVICE),'$(SERVICE)') $(if $(call YES,$(FOLLOW)),--follow)

trigger:  ## Retrain on the stack: MODEL=flight_delays [NIGHT=2013-07-15] [WAIT=1]
	@$(STACK) trigger '$(MODEL)' $(if $(NIGHT),--night '$(NIGHT)') $(if $(call YES,$(WAIT)),--wait)

open:  ## Open the stack's pages in a browser, or print where they are
	@$(STACK) open

aws-double: $(INSTALLED)  ## S3 and Amazon EMR on loopback, jobs run here [PORT=5005] [BUCKET=nightshift]
	@$(BIN)/python -m tests.fakes.aws $(if $(PORT),--port '$(PORT)') $(if $(BUCKET),--bucket '$(BUCKET)')

bench: setup  ## Measure against hand-written peers, as ratios (minutes; no pass or fail)
	@for bench in $(filter-out %/bench_training.py %/bench_torch.py,$(wildcard tests/bench/bench_*.py)); do echo "== $$bench"; $(BIN)/python "$$bench"; done

bench-training: setup  ## Training against bare xgb.train, one process against Spark, torch 1 worker against 2; updates docs/benchmarks.md (an hour)
	@$(BIN)/python tests/bench/bench_training.py --write
	@$(BIN)/python tests/bench/bench_torch.py --write

lock: $(INSTALLED)  ## Compile the locks from pyproject.toml
	@rm -f requirements.txt requirements-image.txt requirements-job.txt requirements-mwaa.txt requirements-torch.txt
	@$(UV) $(COMPILE) --extra job --extra java --extra airflow --extra stack --extra dev --python-version 3.11 -o requirements.txt
	@$(UV) $(COMPILE) --extra job --extra airflow --extra stack --constraint requirements.txt --python-version 3.11 -o requirements-image.txt
	@$(UV) $(COMPILE) --extra job --constraint requirements.txt --python-version 3.11 -o requirements-job.txt
	@$(BIN)/python -c 'from pathlib import Path; from nightshift.jobs.pins import ship; ship(Path("requirements-job.txt"))'
	@$(UV) $(COMPILE) --extra torch --constraint requirements.txt --python-version 3.11 -o requirements-torch.txt
	@$(UV) $(COMPILE) --extra mwaa --python-version 3.12 -o requirements-mwaa.txt
	@echo "uv" | $(UV) compile - --universal --generate-hashes --no-header --quiet --upgrade -o requirements-uv.txt
	@echo "setuptools" | $(UV) compile - --universal --generate-hashes --no-header --quiet --upgrade --python-version 3.11 -o requirements-build.txt

clean:  ## Remove the virtual environment and all local state
	rm -rf $(VENV) .nightshift .airflow build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .mutation
