# All targets set up .venv themselves, with the versions in constraints.txt.
PYTHON ?= python3
VENV   ?= .venv
RUN    := $(VENV)/bin

.PHONY: demo test coverage lint bench docs docs-serve clean

demo: $(VENV)/ready
	$(RUN)/python train.py experiment=demo
	@echo 'Next, a real recording: $(RUN)/ecg-lightning annotate example, or view example'

test: $(VENV)/installed
	$(RUN)/python -m pytest --numprocesses auto --dist worksteal

# Python 3.12 and newer measure with little overhead: COVERAGE_CORE=sysmon
coverage: $(VENV)/installed
	$(RUN)/python -m pytest --numprocesses auto --dist worksteal --cov --cov-report=term-missing:skip-covered

lint: $(VENV)/installed
	$(RUN)/ruff check .
	$(RUN)/ruff format --check .
	$(RUN)/mypy
	$(RUN)/lint-imports

bench: $(VENV)/installed
	$(RUN)/python benchmarks/bench.py

# The site, into site/; docs-serve shows it at 127.0.0.1:8000 and follows changes to pages
docs: $(VENV)/with-docs
	NO_MKDOCS_2_WARNING=1 $(RUN)/mkdocs build --strict

docs-serve: $(VENV)/with-docs
	NO_MKDOCS_2_WARNING=1 $(RUN)/mkdocs serve

$(VENV)/with-docs: $(VENV)/installed
	$(RUN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	touch $@

# What users need; the tests need more
$(VENV)/ready: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.x")'
	$(PYTHON) -m venv $(VENV)
	$(RUN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[web]'
	touch $@

$(VENV)/installed: $(VENV)/ready
	$(RUN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) build dist site .pytest_cache .mypy_cache .ruff_cache .coverage
