# Everything runs in .venv, made here by the first target that needs it.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
DATA   := $(if $(DATA_DIR),data_dir=$(DATA_DIR))
# what runs and figures need no display for
export MPLBACKEND ?= Agg

.DEFAULT_GOAL := help
.PHONY: help run test lint format smoke list table report bench bench-figure bench-gpu clean reproduce-all

help:  ## list the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-zA-Z_%-]+:.*## / {printf "  make %-22s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[dev]"
	@touch $@

run: $(STAMP)  ## train and test on sample data: ARGS="task=speech model=conv_snn"
	$(BIN)/python -m snnexp $(or $(ARGS),task=speech model=conv_snn)

test: $(STAMP)  ## the whole test suite, on two cores: WORKERS=8 for more
	$(BIN)/python -m pytest -n $(or $(WORKERS),2) --dist loadfile

lint: $(STAMP)  ## ruff (check, format) and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(STAMP)  ## let ruff mend and format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

smoke: $(STAMP)  ## compose and validate every yaml, run each experiment for two batches
	$(BIN)/python -m scripts.check_configs --run

data-%: $(STAMP)  ## fetch the real data of a task, or say how: make data-speech DATA_DIR=data
	$(BIN)/python -m scripts.prepare_data task=$* data=real $(DATA)

# the data are looked for first: a missing file is then one plain message, not a failed job
reproduce-%: $(STAMP)  ## a paper's experiment: make reproduce-pellegrini2021_speech SEEDS=0,1,2; SAMPLE=1 rehearses
	$(if $(SAMPLE),,$(BIN)/python -m scripts.prepare_data experiment=$* data=real $(DATA))
	$(BIN)/python -m snnexp -m experiment=$* data=$(if $(SAMPLE),sample,real) seed=$(or $(SEEDS),0) $(DATA) $(ARGS)

reproduce-all: $(STAMP)  ## every experiment whose data are there: SEEDS=0,1,2 DATA_DIR=data; CHECK=1 only says which
	$(BIN)/python -m scripts.reproduce_all --seeds $(or $(SEEDS),0) --only '$(or $(ONLY),*)' \
		$(if $(SAMPLE),--sample) $(if $(CHECK),--check) $(DATA) $(ARGS)

list: $(STAMP)  ## every experiment: what the paper claims, the data needed, what was measured here
	$(BIN)/python -m snnexp.report list

report: $(STAMP)  ## one HTML page of all results: outputs/report.html
	$(BIN)/python -m snnexp.report html

table: $(STAMP)  ## rewrite the README's table from outputs/results.csv
	$(BIN)/python -m snnexp.report table

bench: $(STAMP)  ## time kernels, training steps and readers against their peers (pip install -e ".[bench]" first); RECORD=outputs/bench.csv
	$(BIN)/python -m scripts.bench_kernels $(if $(RECORD),--record $(RECORD))
	$(BIN)/python -m scripts.bench_kernels --keep-memory --only layers $(if $(RECORD),--record $(RECORD))
	$(BIN)/python -m scripts.bench_logging $(if $(RECORD),--record $(RECORD))
	$(BIN)/python -m scripts.bench_start $(if $(RECORD),--record $(RECORD))
	$(BIN)/python -m scripts.bench_steps $(if $(RECORD),--record $(RECORD))
	$(BIN)/python -m scripts.bench_scaling $(if $(RECORD),--record $(RECORD))
	$(BIN)/python -m scripts.bench_events $(if $(RECORD),--record $(RECORD))
	$(BIN)/python -m scripts.bench_traffic $(if $(RECORD),--record $(RECORD))
	$(BIN)/python -m scripts.bench_speech $(if $(RECORD),--record $(RECORD))
	$(BIN)/python -m scripts.bench_edf $(if $(RECORD),--record $(RECORD))

bench-figure: $(STAMP)  ## draw time and memory against T, N and batch, as last recorded in outputs/bench.csv
	$(BIN)/python -m scripts.draw_scaling $(or $(RECORD),outputs/bench.csv) outputs/figures/scaling.svg

bench-gpu: $(STAMP)  ## time the LIF kernels on an NVIDIA GPU, checked first: RECORD=outputs/bench.csv
	$(BIN)/python -m scripts.bench_gpu $(if $(RECORD),--record $(RECORD))

clean:  ## remove caches and the environment; outputs and data stay
	rm -rf $(VENV) .cache .pytest_cache .ruff_cache .mypy_cache
