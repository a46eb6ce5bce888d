# Each target is a line of a public tool; README.md has the same steps as plain commands.
PYTHON ?= python3
BIN := .venv/bin
DATASET ?= course
MODELS ?= bundled

.PHONY: run test lab serve build site

run: .venv/run.stamp
	@mkdir -p results
	$(BIN)/papermill notebooks/14_benchmark.ipynb results/benchmark.ipynb -p models "$(MODELS)" -p dataset "$(DATASET)" -p output_dir results --progress-bar
	@$(BIN)/jupyter nbconvert --log-level WARN --to html --output-dir results results/benchmark.ipynb
	@$(BIN)/python -c "from helpers import benchmark as b; print(b.summary(b.read('results')))"
	@echo "\nWritten: results/benchmark.csv, results/benchmark.json, results/benchmark.png, results/benchmark.html"

test: .venv/test.stamp
	@command -v bwrap > /dev/null || { test "$$(id -u)" = 0 && apt-get update -qq && apt-get install -qq -y bubblewrap; } > /dev/null 2>&1 || true  # for the grader's sandbox
	$(BIN)/ruff check
	$(BIN)/mypy
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -p tests.budgets -n 2 --dist loadscope --nbval-lax notebooks solutions/14_benchmark

lab: .venv/lab.stamp
	$(BIN)/jupyter lab --LabApp.default_url=/lab/tree/notebooks/00_start_here.ipynb

serve: .venv/serve.stamp
	$(BIN)/uvicorn helpers.server:create_app --factory --host 127.0.0.1 --port 8000 --timeout-graceful-shutdown 30 --limit-concurrency 512

build: .venv/test.stamp
	$(BIN)/python -m tools.build
	$(BIN)/python -m tools.instructors

.PHONY: doctor weights wheelhouse
doctor:  # works before anything is installed
	@$(if $(wildcard $(BIN)/python),$(BIN)/python,$(PYTHON)) -m helpers.doctor

weights: .venv/run.stamp
	$(BIN)/python -m tools.weights $(LESSONS)

wheelhouse: .venv/torch.stamp
	$(BIN)/python -m pip wheel --wheel-dir wheelhouse -c requirements.lock torch==2.13.0 "setuptools>=77" ".[lab]"
	@rm wheelhouse/embedding_models_course-*.whl
	@du -sh wheelhouse
	@echo 'To install from it without a network: PIP_NO_INDEX=1 PIP_FIND_LINKS="$$PWD/wheelhouse" make lab'

site: .venv/site.stamp
	$(BIN)/sphinx-build --fail-on-warning --jobs 2 --conf-dir site --doctree-dir site/_build/doctrees . site/_build/html

.PHONY: grade
grade: .venv/grade.stamp
	@test -n "$(SUBMISSIONS)" || { echo "Say what to grade: make grade SUBMISSIONS=folder-or-zip"; exit 2; }
	@$(BIN)/python -m tools.grading "$(SUBMISSIONS)"

.venv/torch.stamp: requirements.lock
	@$(PYTHON) -c "import sys; sys.exit(None if (3, 11) <= sys.version_info[:2] <= (3, 13) else 'Python 3.11 to 3.13 is needed, this is %d.%d: make PYTHON=python3.12' % sys.version_info[:2])"
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --no-compile -c requirements.lock torch==2.13.0
	@touch $@

.venv/run.stamp: .venv/torch.stamp pyproject.toml
	$(BIN)/python -m pip install --quiet --no-compile -c requirements.lock -e .
	@$(BIN)/python -m compileall -q -j 0 .venv > /dev/null || true  # on all cores, where pip uses one
	@touch $@

.venv/lab.stamp: .venv/run.stamp
	$(BIN)/python -m pip install --quiet --no-compile -c requirements.lock -e ".[lab]"
	@$(BIN)/python -m compileall -q -j 0 .venv > /dev/null || true
	@touch $@

.venv/serve.stamp: .venv/run.stamp
	$(BIN)/python -m pip install --quiet --no-compile -c requirements.lock -e ".[serve]"
	@touch $@

.venv/site.stamp: .venv/run.stamp
	$(BIN)/python -m pip install --quiet --no-compile -c requirements.lock -e ".[site]"
	@touch $@

.venv/grade.stamp: .venv/run.stamp
	$(BIN)/python -m pip install --quiet --no-compile -c requirements.lock -e ".[grade]"
	@touch $@

.venv/test.stamp: .venv/torch.stamp pyproject.toml
	$(BIN)/python -m pip install --quiet --no-compile -c requirements.lock -e ".[dev]"
	@$(BIN)/python -m compileall -q -j 0 .venv > /dev/null || true
	@touch $@
