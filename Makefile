# Two commands matter: `make run` does the nightly job on sample photos, `make test` proves the whole.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
DAYS ?= 14

.PHONY: run ui test bench audit clean install help
.DEFAULT_GOAL := help

help:
	@echo "make run [PHOTOS=folder] [DAYS=14]   install, start the services, import photos, run the whole graph, stop"
	@echo "make ui                              the services and the Dagster UI on http://127.0.0.1:3000"
	@echo "make test                            lint, types, import rules, tests, definitions"
	@echo "make bench [PHOTOS=folder] [SPEECH=folder] [SCANS=folder]  every figure that the pages quote, each with its target"
	@echo "make audit                           known vulnerabilities of what is pinned (needs network)"
	@echo "make clean                           delete .darkroom/ after asking"

install: $(BIN)/.installed
$(BIN)/.installed: pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing Darkroom into $(VENV) ..."
	@$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

run: install
	@$(BIN)/darkroom run $(if $(PHOTOS),--photos "$(PHOTOS)") --days $(DAYS)

ui: install
	@$(BIN)/darkroom ui

test: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/dagster definitions validate
	$(BIN)/pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder --max-worker-restart 1

bench: install
	$(BIN)/python -m benchmarks $(if $(PHOTOS),--photos "$(PHOTOS)") $(if $(SPEECH),--speech "$(SPEECH)") $(if $(SCANS),--scans "$(SCANS)")

audit:
	@test -x build/audit/bin/pip-audit || { $(PYTHON) -m venv build/audit && build/audit/bin/pip install --quiet pip-audit; }
	@build/audit/bin/pip-audit --requirement constraints.txt --no-deps --disable-pip --strict

clean: 
	@test ! -x $(BIN)/darkroom || $(BIN)/darkroom down --delete
