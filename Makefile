# Everything here works on a machine that has Python 3.11 or later, make, and the package registries.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready

# Most of the time tests wait for servers, so that two cores have room for five of them. A file stays in one process,
# which starts the servers of its tests once.
WORKERS := -n 5 --dist loadfile --no-loadscope-reorder

# The quick ones wait less.
QUICK := -n 3 --dist loadfile --hypothesis-profile=quick

# Where they compute all the time, each worker more than there are cores only costs its own start. To measure what is
# covered makes them take three times as long, so that only the core, which is to be covered completely, pays for it.
BUSY := -n auto --maxprocesses 8 --dist loadfile
CORE := tests/fleet tests/forecast

# Without its bytecode, each worker and each exporter that a test starts would compile all that it imports.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo test test-fast coverage properties fuzz lint lint-types lint-style lint-generated lint-tests format alerts dashboards docs site bench soak chaos pins tools clean

help:  ## this list
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' Makefile

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or later is needed, $(PYTHON) is older: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

demo: $(READY)  ## a simulated fleet, the exporter, a CloudWatch and a small autoscaler (ARGS="--duration 60s" and so on)
	@$(BIN)/fleet-exporter demo $(ARGS)

test: $(READY) tools lint  ## everything: checks, the core's tests, which cover it completely, then all others
	$(BIN)/python -m pytest $(BUSY) $(CORE) $(CORE:tests/%=--cov=exporter/%) --cov-report=term:skip-covered --cov-fail-under=100
	$(BIN)/python -m pytest $(WORKERS) $(CORE:%=--ignore=%)

test-fast: $(READY)  ## the tests that need no server and no second
	$(BIN)/python -m pytest $(QUICK) -m 'not slow' -q

coverage: $(READY)  ## what of everything the tests cover (ARGS="-m 'not slow'" and so on)
	$(BIN)/python -m pytest $(WORKERS) --cov --cov-report=term:skip-covered $(ARGS)

properties: $(READY)  ## the property tests, with thirty times as many examples, other ones each time
	$(BIN)/python -m pytest $(WORKERS) -m hypothesis --hypothesis-profile=nightly --timeout=3600

fuzz: $(READY)  ## random texts for all that reads some from outside (ARGS="--seconds 3600", or the names of targets)
	@$(BIN)/python -m tests.fuzz $(ARGS)

# Its schemas come with it; nothing is downloaded.
SCHEMA := $(BIN)/check-jsonschema --quiet --builtin-schema

lint: $(READY)  ## style, types, layers, generated files, the documentation's site, the workflows, that all tests load
	@$(MAKE) --no-print-directory --jobs 2 --keep-going --output-sync=target lint-types lint-style lint-generated lint-tests

lint-types: $(READY)
	$(BIN)/mypy

lint-style: $(READY)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports
	$(BIN)/bandit --quiet --recursive --configfile pyproject.toml exporter
	$(BIN)/python -m tools.audit
	$(BIN)/deno lint --quiet exporter tests
	$(BIN)/deno check --quiet exporter tests
	$(SCHEMA) vendor.github-workflows .github/workflows/*.yml
	$(SCHEMA) custom.github-workflows-require-timeout .github/workflows/*.yml
	$(SCHEMA) vendor.dependabot .github/dependabot.yml
	$(SCHEMA) vendor.github-issue-config .github/ISSUE_TEMPLATE/config.yml
	$(SCHEMA) vendor.github-issue-forms $(filter-out %/config.yml,$(wildcard .github/ISSUE_TEMPLATE/*.yml))

lint-generated: $(READY)
	$(BIN)/python -m alerts.build --check
	$(BIN)/python -m dashboards.build --check
	$(BIN)/python -m tools.build --check
	$(BIN)/python -m benchmarks.scaling --check
	$(BIN)/python -m tools.build_night --check
	$(BIN)/python -m tools.site

# This also compiles them. Of a new checkout, each worker of `make test` would do that for itself, for ten seconds.
lint-tests: $(READY)
	@found=$$($(BIN)/python -m pytest --collect-only -qqq) || { echo "$$found"; exit 1; }

format: $(READY)  ## put the style right
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

alerts: $(READY)  ## write the alert and recording rules, the CloudWatch alarms and their tables
	$(BIN)/python -m alerts.build

dashboards: $(READY)  ## write the Grafana dashboards
	$(BIN)/python -m dashboards.build

docs: $(READY) alerts dashboards  ## write every generated file anew, the chart's copies too
	$(BIN)/python -m tools.build
	$(BIN)/python -m benchmarks.scaling
	$(BIN)/python -m tools.build_night

site: $(READY)  ## build the documentation's site, to build/site
	$(BIN)/python -m tools.site

bench: $(READY)  ## measure against Prometheus on the same targets
	@./.ci/tools nginx:nginx-light prometheus:prometheus chromium,chromium-browser,google-chrome:chromium
	@$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[bench-forecast]'
	$(BIN)/python -m benchmarks.scrape $(ARGS)
	$(BIN)/python -m benchmarks.spool
	$(BIN)/python -m benchmarks.visibility
	$(BIN)/python -m benchmarks.turns
	$(BIN)/python -m benchmarks.scale
	$(BIN)/python -m benchmarks.page
	$(BIN)/python -m benchmarks.forecast

chaos: $(READY) tools  ## two exporters through 20 minutes of faults (ARGS="--seed 1 --minutes 5" and so on)
	$(BIN)/python -m tests.chaos $(ARGS)

soak: $(READY)  ## a day of an exporter in 24 minutes, with ten thousand pods: does anything grow? (ARGS="--hours 6")
	@./.ci/tools faketime:faketime
	$(BIN)/python -m benchmarks.soak $(ARGS)

pins: $(READY)  ## pin the newest versions that fit, with hashes, for the image
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[pins]'
	$(BIN)/python -m tools.pins

tools: $(READY)  ## what some tests use: Debian's programs, helm, kubectl, the image's base; without it they are left out and say so
	@./.ci/tools promtool:prometheus prometheus-alertmanager:prometheus-alertmanager chromium,chromium-browser,google-chrome:chromium \
	  buildah:buildah debootstrap:debootstrap setpriv:util-linux faketime:faketime
	@$(BIN)/python -m tools.programs
	@$(BIN)/python -m tools.axe
	@$(BIN)/python -m tools.base_image

clean:  ## remove what was made here
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage .import_linter_cache
