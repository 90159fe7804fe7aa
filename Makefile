# Redoubt: the commands people use. Everything runs in .venv; nothing else on the machine is touched.
PYTHON ?= python3.11
PORT ?= 8000
HOST ?= 127.0.0.1
BIN := .venv/bin
PRODUCTION := .venv/.production
STAMP := .venv/.installed
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: check-types check-others mutation hostile help setup run lock check test test-nightly e2e bench bench-attacks bench-ensemble bench-host bench-certify bench-honesty format clean

help: ## this list
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

# What Redoubt runs with; pip resolves, so that torch brings along what its build for this system needs.
$(PRODUCTION): requirements/production.txt requirements/constraints.txt pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "make: $(PYTHON) is not on the PATH; install Python 3.11 or say make PYTHON=..."; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(PIP) --upgrade "pip==25.3"
	$(PIP) -r requirements/production.txt
	$(PIP) --no-deps --build-constraint requirements/production.txt --build-constraint requirements/dev.txt --editable .
	@touch $@

# What it is tested and checked with. The peers lie apart: one of them contradicts what the product needs.
$(STAMP): $(PRODUCTION) requirements/dev.txt requirements/peers.txt
	$(PIP) -r requirements/production.txt -r requirements/dev.txt
	rm -rf .venv/peers
	$(PIP) --no-deps --target .venv/peers -r requirements/peers.txt
	@touch $@

setup: $(STAMP) ## the virtual environment with everything pinned

run: $(PRODUCTION) ## the whole product at http://localhost:8000, Ctrl-C stops it
	@exec $(BIN)/redoubt serve --host $(HOST) --port $(PORT)

lock: $(STAMP) ## resolve pyproject.toml again into requirements/
	$(BIN)/python deploy/dev/lock.py

check: $(STAMP) ## ruff, mypy, import rules, dead code, migrations, templates, requirements
	+@$(MAKE) --no-print-directory -j2 check-types check-others

check-types: $(STAMP)
	$(BIN)/mypy

check-others: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/vulture
	$(BIN)/python manage.py makemigrations --check --dry-run
	$(BIN)/python manage.py check --fail-level WARNING
	$(BIN)/python -m pip check
	$(BIN)/python deploy/dev/lock.py --check

test: $(STAMP) ## the whole test suite; says loudly what this machine could not run
	$(BIN)/python -m pytest -n 3 --dist loadgroup --costs=60 -m "not nightly"

test-nightly: $(STAMP) ## the full-size proofs
	$(BIN)/python -m pytest -m nightly

hostile: $(STAMP) ## every hostile submission on every backend: tried, contained, lost; CASES="fork wire/" runs some
	$(BIN)/python -m tests.sandbox.hostile_suite $(CASES)
	$(BIN)/python -m benchmarks.odds --images 24 --seeds 7

mutation: $(STAMP) ## changes the judging code a little, and says which change no test notices; WORDS="l2 meter" picks files
	$(BIN)/python -m tests.mutation $(WORDS)

e2e: $(STAMP) ## only the browser tests, with pictures of every page in artifacts/screenshots
	REDOUBT_SCREENSHOTS=1 $(BIN)/python -m pytest tests/e2e

bench: bench-attacks bench-ensemble bench-host bench-certify bench-honesty ## every benchmark at its quick size

bench-attacks: $(STAMP) ## our attacks beside adv-lib, torchattacks, foolbox, ART and pyautoattack, and their optimality
	$(BIN)/python -m benchmarks.attacks $(if $(FULL),,--quick)

bench-ensemble: $(STAMP) ## the standard ensemble beside AutoAttack; ABLATE=1 drops each step in turn, FULL=1 is the full size
	$(BIN)/python -m benchmarks.ensemble $(if $(FULL),,--quick) $(if $(ABLATE),--ablate,)

bench-host: $(STAMP) ## the sandboxed host beside the same model in-process
	$(BIN)/python -m benchmarks.host

bench-certify: $(STAMP) ## our certificates beside a faithful Cohen loop
	$(BIN)/python -m benchmarks.certify --quick
	$(BIN)/python -m benchmarks.certify_calibration --seconds 10

bench-honesty: $(STAMP) ## the reference entries: claimed, AutoAttack, ours, flags; FULL=1 is the full size
	$(BIN)/python -m benchmarks.honesty $(if $(FULL),,--quick)
	$(BIN)/python -m benchmarks.phases

format: $(STAMP) ## sort imports and format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## remove what was built; keeps var/ (the site's data)
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache artifacts
