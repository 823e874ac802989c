# The two main commands: `make run` runs the nightly job on sample photos, `make test` runs all tests.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
DAYS ?= 14
# Only files with a hash in the lock are installed. Pip would compile them one at a time.
LOCKED = $(BIN)/pip install --quiet --disable-pip-version-check --require-hashes --no-deps --no-compile
COMPILE_ALL = $(BIN)/python -m compileall -qq -j 0 -x '/tests?/' $(VENV)/lib
COMPILE = $(TOOLS)/uv pip compile --quiet --universal --generate-hashes --no-annotate --python-version 3.11 --custom-compile-command 'make lock'
TOOLS := build/tools/bin
# The hash of torch's CPU build, which is not on PyPI, for Python 3.11 on x86_64. It is asked for first: pip prefers PyPI's build
# with gigabytes for CUDA to a wheel whose hash it knows only once it has read it, as those of a folder.
TORCH_CPU_SHA256 := 6746dbcbeb526eb61330b76b41ff1b4eb848951103a892eeb080dfa2b264667b

.PHONY: run ui check lint test bench audit lock clean install help
.DEFAULT_GOAL := help

help:
	@echo "make run [PHOTOS=folder] [DAYS=14]   install, start the services, import photos, materialize the whole graph, stop"
	@echo "make ui                              start the services and the Dagster UI on http://127.0.0.1:3000"
	@echo "make check                           run lint, types, import rules and the quick tests, which need no server"
	@echo "make test [TURN=0|1|2]               run lint, types, import rules, definitions and all tests; TURN: of the longest, a third"
	@echo "make bench [PHOTOS=folder] [SPEECH=folder] [SCANS=folder]  measure every figure in docs/benchmarks.md, with its target"
	@echo "make audit                           list known vulnerabilities of the pinned packages (needs network)"
	@echo "make lock                            write requirements/*.lock with the hash of every installable file (needs network)"
	@echo "make clean                           delete .darkroom/ after confirmation"

install: $(BIN)/.installed
$(BIN)/.installed: pyproject.toml $(wildcard requirements/*.lock)
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing Darkroom into $(VENV) ..."
	@$(LOCKED) --requirement requirements/build.lock
	@sed -n 's/^torch==.*/&+cpu --hash=sha256:$(TORCH_CPU_SHA256)/p' constraints.txt | $(LOCKED) --requirement /dev/stdin 2>/dev/null || true
	@$(LOCKED) --no-build-isolation --requirement requirements/darkroom.lock
	@! grep --quiet '^Requires-Dist: nvidia' $(VENV)/lib/python*/site-packages/torch-*.dist-info/METADATA || $(LOCKED) --requirement requirements/cuda.lock
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-index --no-build-isolation --editable .
	@$(BIN)/pip check
	@$(COMPILE_ALL) || true # some packages bring templates that are no Python
	@touch $@

run: install
	@$(BIN)/darkroom run $(if $(PHOTOS),--photos "$(PHOTOS)") --days $(DAYS)

ui: install
	@$(BIN)/darkroom ui

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

check: lint
	$(BIN)/pytest --quick --numprocesses 2 --durations 20

test: lint
	$(BIN)/dagster definitions validate
	$(BIN)/pytest $(if $(TURN),--turn $(TURN)) --durations 20 --numprocesses 3 --dist loadfile --no-loadscope-reorder --max-worker-restart 1

bench: install
	$(BIN)/python -m benchmarks $(if $(PHOTOS),--photos "$(PHOTOS)") $(if $(SPEECH),--speech "$(SPEECH)") $(if $(SCANS),--scans "$(SCANS)")

lock: $(TOOLS)/.installed
	@printf '%s\n' pip setuptools | $(COMPILE) - --constraint constraints.txt --output-file requirements/build.lock
	@echo torch | $(COMPILE) - --constraint constraints.txt --output-file requirements/cuda.lock
	@$(COMPILE) pyproject.toml --extra dev --constraint constraints.txt --output-file requirements/darkroom.lock \
		$$(sed -n "s/^\([a-z0-9-]*\)==.*sys_platform == 'linux'.*/--no-emit-package \1/p" requirements/cuda.lock)
	@$(COMPILE) requirements/tools.txt --output-file requirements/tools.lock
	@$(COMPILE) requirements/label-studio.txt --output-file requirements/label-studio.lock
	@$(COMPILE) requirements/feast.txt --output-file requirements/feast.lock
	@$(COMPILE) requirements/frames.txt --constraint constraints.txt --output-file requirements/frames.lock
	@for lock in darkroom cuda; do \
		grep --quiet $(TORCH_CPU_SHA256) requirements/$$lock.lock || { \
			awk '{ print } /^torch==/ { print "    --hash=sha256:$(TORCH_CPU_SHA256) \\" }' requirements/$$lock.lock > build/lock && mv build/lock requirements/$$lock.lock; }; \
	done

audit: $(TOOLS)/.installed
	@$(TOOLS)/pip-audit --requirement requirements/darkroom.lock --requirement requirements/cuda.lock --require-hashes --disable-pip --strict

$(TOOLS)/.installed: requirements/tools.lock
	@$(PYTHON) -m venv build/tools
	@$(TOOLS)/pip install --quiet --disable-pip-version-check --require-hashes --no-deps --requirement $<
	@touch $@

clean: 
	@test ! -x $(BIN)/darkroom || $(BIN)/darkroom down --delete
