# `make` alone tells what there is. Every target sets itself up: a fresh machine needs Python 3.11 and nothing else
# (the browser check of `make test` needs a Chromium).

VENV   := .venv
PYTHON := $(VENV)/bin/python
READY  := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help setup book test mutants lint sync clean

help:  ## say what can be made
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-7s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(READY): pyproject.toml constraints.txt
	test -x $(PYTHON) || python3 -m venv $(VENV)
	$(PYTHON) -m pip install --quiet --no-compile --constraint constraints.txt --editable ".[book,test]"
	@$(PYTHON) -m compileall -qq -j 0 $(VENV)/lib || true  # on all cores, where pip uses one; some files are templates
	@touch $@

setup: $(READY)  ## install everything, pinned, into .venv

book: $(READY)  ## run the notebooks whose inputs changed, and render the book to _build/html
	$(PYTHON) book/scripts/make_book.py

test: $(READY) lint  ## lint, then every test: the package, the notebooks, and a small book in a browser
	$(PYTHON) book/scripts/make_book.py --small
	$(PYTHON) -m pytest -n auto --maxprocesses 8 --dist loadfile --no-loadscope-reorder \
		--nbmake --overwrite book/small tests

mutants: $(READY)  ## put faults into a copy of the package, one by one, and see that tests notice each (not in CI)
	$(PYTHON) tests/mutants --jobs 2

lint: $(READY)  ## check style, which room imports which, and that the notebooks' two forms agree
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(VENV)/bin/lint-imports --no-cache --no-logo
	$(PYTHON) book/scripts/notebook_forms.py check

sync: $(READY)  ## bring the two forms of every notebook in step (the newer one wins) and drop outputs
	$(PYTHON) book/scripts/notebook_forms.py sync

clean:  ## remove what the book made: pages, runs, caches (results and .venv stay)
	rm -rf _build book/runs book/small .pytest_cache .ruff_cache
