# make book              render the committed edition here, every chapter also run at scale smoke; _build/html
# make book SCALE=smoke  an edition of runs made here (SCALE=cpu: some 11 CPU hours)
# make test              lint, types, unit tests, every chapter, the site
# make site              build the committed edition as it stands, without running anything
# make clean             remove what was built (environment, runs and worlds stay)
#
# All of them first make .venv from requirements.txt, once, and again when the lock changes.

SCALE ?=
JOBS ?= 2
SEEDS ?=
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# The first interpreter of a version the lock is for.
IN_RANGE := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
PYTHON ?= $(shell for p in python3 python3.11 python3.12 python3.13; do \
	$$p -c '$(IN_RANGE)' 2>/dev/null && echo $$p && break; done)

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help book test site clean
.DELETE_ON_ERROR:

help:
	@sed -n 's/^# \{0,1\}//p;/^$$/q' Makefile

book: $(STAMP)
	$(BIN)/svitt book $(if $(SCALE),--scale $(SCALE)) --jobs $(JOBS) $(if $(SEEDS),--seeds $(SEEDS))

test: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest -n 2 --dist loadfile

site: $(STAMP)
	$(BIN)/jupyter-book build book/ --all -n -W --keep-going

clean:
	rm -rf _build book/_build .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(STAMP): requirements.txt pyproject.toml
	@test -n "$(PYTHON)" || { echo "make: no Python 3.11, 3.12 or 3.13 found; on Debian:" \
		"apt install python3 python3-venv (or name one: make PYTHON=/path/to/python3.11)" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "make: $(PYTHON) cannot make a virtual" \
		"environment; on Debian: apt install python3-venv" >&2; exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install -r requirements.txt
	$(BIN)/python -m pip install --no-build-isolation --no-deps -e .
	@touch $@
