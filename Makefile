# Every target that needs the environment depends on it, so each works in a fresh clone.
PYTHON ?= python3
CAIRN := .venv/bin/cairn

# What a job works on. `make submission DATA=photos RECIPE=photos RUN=runs/photos`
DATA ?=
RUN ?=
RECIPE ?=
WEIGHTS ?=
IMAGE ?=
WITH ?=
COUNT ?=
GPU ?=
OPTIONS := $(if $(DATA),--data "$(DATA)") $(if $(RUN),--run "$(RUN)") \
	$(if $(RECIPE),--recipe "$(RECIPE)") $(if $(WEIGHTS),--weights "$(WEIGHTS)")

.DEFAULT_GOAL := help
.PHONY: help env data train embeddings index submission evaluate compare ablate query \
	test browser check format docs notebook benchmark benchmark-index clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.venv/.complete: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	PIP_CONSTRAINT=constraints.txt .venv/bin/pip install --quiet --editable '.[dev]'
	touch $@

# With GPU=1, faiss-gpu in place of faiss-cpu, of the same version: both are the module `faiss`.
.venv/.faiss-gpu: .venv/.complete
	.venv/bin/pip uninstall --quiet --yes faiss-cpu
	.venv/bin/pip install --quiet "faiss-gpu==$$(sed -n 's/^faiss-cpu==//p' constraints.txt)"
	touch $@

env: .venv/.complete $(if $(GPU),.venv/.faiss-gpu) ## Create .venv and install the pinned packages (GPU=1: search on a GPU)

data: .venv/.complete ## Render the demo city (DATA=folder to choose where)
	$(CAIRN) data demo $(if $(DATA),--data "$(DATA)")

train: .venv/.complete ## Train the descriptor model
	$(CAIRN) train $(OPTIONS)

embeddings: .venv/.complete ## Turn every image into a global descriptor
	$(CAIRN) embed $(OPTIONS)

index: .venv/.complete ## Build the search index of the database images
	$(CAIRN) index $(OPTIONS)

submission: .venv/.complete ## Do the whole job: data to submission.csv and its figures
	$(CAIRN) submit $(OPTIONS)

evaluate: .venv/.complete ## Score the submission of a run
	$(CAIRN) evaluate $(if $(DATA),--data "$(DATA)") $(if $(RUN),--run "$(RUN)")

compare: .venv/.complete ## Compare two runs: make compare RUN=runs/a WITH=runs/b
	$(if $(and $(RUN),$(WITH)),,$(error name two runs: make compare RUN=runs/a WITH=runs/b))
	$(CAIRN) compare "$(RUN)" "$(WITH)"

ablate: .venv/.complete ## Score every published policy on what a run knows
	$(CAIRN) ablate $(if $(RUN),"$(RUN)")

query: .venv/.complete ## Recognise images: make query IMAGE=photo.jpg
	$(if $(IMAGE),,$(error name a photo: make query IMAGE=photo.jpg))
	$(CAIRN) query $(if $(DATA),--data "$(DATA)") $(if $(RUN),--run "$(RUN)") "$(IMAGE)"

test: .venv/.complete ## Run the tests
	.venv/bin/pytest -n auto --maxprocesses 8 --dist loadfile

browser: ## Install the browser that tests of the page drive (Debian, as root)
	apt-get update --quiet
	apt-get install --yes --no-install-recommends chromium

check: .venv/.complete ## Lint, format and types
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/pytest tests/test_imports.py

format: .venv/.complete ## Format the code
	.venv/bin/ruff format .
	.venv/bin/ruff check --fix .

docs: .venv/.complete ## Make the site of docs/: site/index.html
	.venv/bin/sphinx-build -q -W --keep-going -d site/.doctrees docs site

notebook: .venv/.complete ## Run docs/notebooks on the demo run
	$(if $(wildcard runs/demo/run.json),,$(error make the run of the demo city first: make submission))
	.venv/bin/jupyter execute docs/notebooks/*.ipynb

benchmark: .venv/.complete ## Measure and print the figures of the README
	.venv/bin/python -m tests.benchmarks $(if $(RUN),--run "$(RUN)")

benchmark-index: .venv/.complete ## Compare the index with other libraries: COUNT="10000 1000000"
	.venv/bin/python -m tests.benchmarks.bench_index $(if $(RUN),--run "$(RUN)") \
		$(if $(COUNT),--count $(COUNT))

clean: ## Delete the environment, the site, the demo data and its run
	rm -rf .venv site data/demo runs/demo
