# make explore: set up, then explore the quick study. make test: set up, then test. Nothing but Python 3.11+ and make is needed.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
PIP = $(BIN)/python -m pip --disable-pip-version-check
# Python compiles what it imports, which is a small part of what is installed, and keeps that, whatever the environment says.
export PYTHONDONTWRITEBYTECODE :=
INSTALL = $(PIP) install --quiet --no-compile --constraint constraints.txt

.PHONY: explore test test-all test-quick bench lint types collect check lock clean

explore: $(VENV)/.installed
	$(BIN)/fastrcaps-dse explore --objectives acc,time,params

PYTEST = $(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

test: $(VENV)/.installed-dev
	$(PYTEST)

test-all: $(VENV)/.installed-dev
	$(PYTEST) -m ''

test-quick: $(VENV)/.installed-dev
	$(PYTEST) -m 'not slow and not browser and not thorough'

bench: $(VENV)/.installed-dev
	$(BIN)/python -m benchmarks.training

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	mkdir -p build
	$(BIN)/python -X utf8 -c 'from fastrcaps_dse.page.document import script; print(script(), end="")' > build/page.js
	$(BIN)/oxlint -c .oxlintrc.json --deny-warnings build/page.js  # the scripts of the page in one scope, as they run

types: $(VENV)/.installed-dev
	$(BIN)/mypy

collect: $(VENV)/.installed-dev  # imports all tests, and so compiles once what each process of the tests imports
	$(BIN)/python -m pytest --collect-only -qqq

$(VENV)/.installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(INSTALL) --editable .
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(INSTALL) --editable '.[dev]'
	touch $@

check: lint types test

lock: $(VENV)/.installed-dev
	(head -n 1 constraints.txt; $(PIP) freeze --exclude-editable | sed 's/+cpu//') > constraints.new
	mv constraints.new constraints.txt

clean:
	rm -rf $(VENV) build dist *.egg-info
