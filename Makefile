# Each target is a line of a public tool; README.md has the same steps as plain commands. What stands after ## is
# what `make help` says.
PYTHON ?= python3
BIN := .venv/bin
DATASET ?= course
MODELS ?= bundled
OUT ?= results
PORT ?= 8000
QUIET := $(if $(CI),--quiet,)
COMPILE = @echo "Compiling the packages once, one to four minutes ..." && $(BIN)/python -m compileall -q -j 0 .venv > /dev/null || true

.NOTPARALLEL:

.PHONY: run test lab serve build site

run: .venv/run.stamp  ## Rank models and leave a report in results/ (DATASET=, MODELS="one,two", OUT=, ARGS="-p limit 5000").
	@$(BIN)/python -m tools.preflight "$(DATASET)" "$(MODELS)" "$(OUT)" $(ARGS)
	@$(BIN)/python -m papermill notebooks/14_benchmark.ipynb "$(OUT)/.benchmark.ipynb" -p models "$(MODELS)" -p dataset "$(DATASET)" -p output_dir "$(OUT)" $(ARGS) --no-progress-bar --log-output --log-level WARNING
	@$(BIN)/jupyter nbconvert --log-level WARN --to html --no-input --TagRemovePreprocessor.enabled=True --TagRemovePreprocessor.remove_cell_tags=lesson --TagRemovePreprocessor.remove_all_outputs_tags=silent --output-dir "$(OUT)" --output benchmark "$(OUT)/.benchmark.ipynb"
	@mv "$(OUT)/.benchmark.ipynb" "$(OUT)/benchmark.ipynb"
	@$(BIN)/python -c "import sys; from helpers import benchmark as b; print(b.summary(b.read(sys.argv[1])))" "$(OUT)"
	@printf "\nWritten: $(OUT)/benchmark.html, benchmark.csv, benchmark.json, benchmark.png, benchmark.ipynb\n"

test: .venv/test.stamp  ## Check everything that must hold; takes minutes.
	@command -v bwrap > /dev/null || { test "$$(id -u)" = 0 && apt-get update -qq && apt-get install -qq -y bubblewrap; } > /dev/null 2>&1 || true  # for the grader's sandbox
	$(BIN)/python -m tools.packages  # kept in the cache; one that can't be had is a warning
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -p tests.budgets -n 2 --dist loadscope --nbval-lax notebooks solutions/14_benchmark

lab: .venv/lab.stamp  ## Open JupyterLab at lesson 00 (JUPYTER_ARGS="--port 9999").
	$(BIN)/jupyter lab --LabApp.default_url=/lab/tree/notebooks/00_start_here.ipynb $$(test "$$(id -u)" != 0 || echo --allow-root) $(JUPYTER_ARGS)

serve: .venv/serve.stamp  ## Start the embedding server on 127.0.0.1 (PORT=8000).
	@echo 'Loading the model, half a minute; then, from another terminal:'
	@echo '  curl http://127.0.0.1:$(PORT)/v1/embeddings -H "Content-Type: application/json" -d "{\"model\": \"$${EMBED_MODEL:-all-MiniLM-L6-v2}\", \"input\": \"hello\"}"'
	@echo 'http://127.0.0.1:$(PORT)/docs lists the routes; EMBED_MODEL=name serves another model.'
	$(BIN)/uvicorn helpers.server:create_app --factory --host 127.0.0.1 --port $(PORT) --timeout-graceful-shutdown 30 --limit-concurrency 512

build: .venv/test.stamp  ## Write notebooks/, solutions/ and exercises/ from lessons/, executed.
	$(BIN)/python -m tools.build
	$(BIN)/python -m tools.instructors

.PHONY: parity
parity: .venv/run.stamp  ## Is it the model? (URL=http://127.0.0.1:8080 or MODEL_B=folder, MODEL=the-model-it-should-be, ROUTE=auto).
	@test -n "$(URL)$(MODEL_B)" || { echo "Say what to examine: make parity URL=http://127.0.0.1:8080 MODEL=all-MiniLM-L6-v2"; exit 2; }
	@mkdir -p results/parity && rm -f results/parity/parity.txt results/parity/parity.json
	@echo "Examining $(or $(URL),$(MODEL_B)), half a minute ..."
	@$(BIN)/python -m papermill notebooks/20_parity.ipynb results/parity/parity.ipynb -r url "$(URL)" -r model "$(or $(MODEL),all-MiniLM-L6-v2)" -r model_b "$(MODEL_B)" -r served_as "$(SERVED_AS)" -r route "$(or $(ROUTE),auto)" --no-progress-bar --log-level ERROR 2> results/parity/log.txt || { grep -o 'CourseError: .*' results/parity/log.txt || cat results/parity/log.txt; exit 2; } >&2
	@cat results/parity/parity.txt
	@$(BIN)/python -c "import json, sys; sys.exit(not json.load(open('results/parity/parity.json'))['passed'])"

.PHONY: doctor weights wheelhouse
doctor:  ## Look for trouble on this machine, each with its mend; needs nothing installed.
	@$(if $(wildcard $(BIN)/python),$(BIN)/python,$(PYTHON)) -m helpers.doctor

weights: .venv/run.stamp  ## Fetch the real models from the hub beforehand (LESSONS="01 02").
	$(BIN)/python -m tools.weights $(LESSONS)

wheelhouse: .venv/torch.stamp  ## Collect every package, to install without a network.
	$(BIN)/python -m pip wheel --wheel-dir wheelhouse -c requirements.lock torch==2.13.0 "setuptools>=77" ".[lab]"
	@rm wheelhouse/embedding_models_course-*.whl
	@du -sh wheelhouse
	@echo 'To install from it without a network: PIP_NO_INDEX=1 PIP_FIND_LINKS=wheelhouse make lab'

site: .venv/site.stamp  ## Make a web site of the course in site/_build/html.
	$(BIN)/sphinx-build --fail-on-warning --jobs 2 --conf-dir site --doctree-dir site/_build/doctrees . site/_build/html

.PHONY: new-model new-task new-lesson
new-model: .venv/test.stamp  ## Begin a model's row in the catalogue (MODEL=org/name).
	@$(BIN)/python -m tools.new model "$(MODEL)"

new-task: .venv/test.stamp  ## Begin a task of an exercise (NAME=03.5).
	@$(BIN)/python -m tools.new task "$(NAME)"

new-lesson: .venv/test.stamp  ## Begin a lesson (NAME=20_something).
	@$(BIN)/python -m tools.new lesson "$(NAME)"

.PHONY: help
help:  ## Say what can be made.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: grade .submissions
.submissions:
	@test -n "$(SUBMISSIONS)" || { echo "Say what to grade: make grade SUBMISSIONS=folder-or-zip"; exit 2; }

grade: .submissions .venv/grade.stamp  ## Mark what a class handed in, in a sandbox (SUBMISSIONS=folder or zip).
	@$(BIN)/python -m tools.grading "$(SUBMISSIONS)"

.venv/torch.stamp: requirements.lock
	@command -v $(PYTHON) > /dev/null || { echo "There is no $(PYTHON) here; name one that is: make PYTHON=python3.12"; exit 2; }
	@$(PYTHON) -m helpers.doctor --machine
	@echo "Installing into .venv: about 2 GB (6 with a GPU's build of PyTorch), three to eight minutes the first time."
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install $(QUIET) --no-compile -c requirements.lock torch==2.13.0
	@touch $@

.venv/run.stamp: .venv/torch.stamp pyproject.toml
	$(BIN)/python -m pip install $(QUIET) --no-compile -c requirements.lock -e .
	@mkdir -p .venv/etc/ipython && echo 'c.IPKernelApp.log_level = 40' > .venv/etc/ipython/ipython_kernel_config.py  # no warning that a kernel on one machine isn't encrypted
	$(COMPILE)
	@touch $@

.venv/lab.stamp: .venv/run.stamp
	$(BIN)/python -m pip install $(QUIET) --no-compile -c requirements.lock -e ".[lab]"
	$(COMPILE)
	@touch $@

.venv/serve.stamp: .venv/run.stamp
	$(BIN)/python -m pip install $(QUIET) --no-compile -c requirements.lock -e ".[serve]"
	@touch $@

.venv/site.stamp: .venv/run.stamp
	$(BIN)/python -m pip install $(QUIET) --no-compile -c requirements.lock -e ".[site]"
	@touch $@

.venv/grade.stamp: .venv/run.stamp
	$(BIN)/python -m pip install $(QUIET) --no-compile -c requirements.lock -e ".[grade]"
	@touch $@

.venv/test.stamp: .venv/torch.stamp pyproject.toml
	$(BIN)/python -m pip install $(QUIET) --no-compile -c requirements.lock -e ".[dev]"
	$(COMPILE)
	@touch $@
