"""The workflows are valid, and run what the README offers."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import yaml
from hypothesis import settings

from tests import ROOT

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def test_workflows_follow_the_schema() -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows"]
    done = subprocess.run([*command, *map(str, WORKFLOWS)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [path.stem for path in WORKFLOWS] == ["ci", "gpu", "nightly"]


def test_workflows_ask_for_no_more_than_they_need() -> None:
    command = [str(Path(sys.executable).with_name("zizmor")), "--offline", "--no-progress", "--quiet", ".github"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_ci_covers_three_systems_and_three_pythons() -> None:
    job = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8"))["jobs"]["test"]
    assert job["strategy"]["matrix"]["os"] == ["ubuntu-latest", "macos-latest", "windows-latest"]
    assert job["strategy"]["matrix"]["python"] == ["3.11", "3.12", "3.13"]


def test_the_plain_commands_of_the_readme_are_those_of_make_and_ci() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    windows = (ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8")
    for command in (
        "-m pip install -c requirements.lock torch==2.13.0",
        '-m pip install -c requirements.lock -e ".[dev]"',
        "-m pytest -p tests.budgets -n 2 --dist loadscope --nbval-lax notebooks solutions/14_benchmark",
    ):
        assert command in readme and command in windows
        assert command in makefile.replace("$(QUIET) --no-compile ", "")


def commands(workflow: str) -> list[str]:
    """Each shell command of a workflow, on a line of its own."""
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / workflow).read_text(encoding="utf-8"))["jobs"]
    return [line for job in jobs.values() for step in job["steps"] for line in step.get("run", "").splitlines()]


def test_each_workflow_runs_its_part() -> None:
    assert any(line.startswith("make test") for line in commands("ci.yml"))
    assert any("-m pytest -m hub tests/gpu" in line for line in commands("gpu.yml"))
    nightly = yaml.safe_load((ROOT / ".github" / "workflows" / "nightly.yml").read_text(encoding="utf-8"))["jobs"]
    assert not any("requirements.lock" in step.get("run", "") for step in nightly["newest"]["steps"])
    assert set(nightly["tell"]["needs"]) == set(nightly) - {"tell"}


def test_what_docs_call_fuzzed_is_fuzzed_each_night_by_the_kinds_in_its_tables() -> None:
    page = (ROOT / "docs" / "fuzz.md").read_text(encoding="utf-8")
    for command in re.findall(r"^    python (-m pytest.*?)  ", page, re.MULTILINE):
        assert f"python {command}" in commands("nightly.yml")
    assert "python -m tools.mutants" in commands("nightly.yml")
    for name in ("server/fuzz.py", "grading/test_fuzz.py", "test_fuzz_numbers.py"):
        source = (ROOT / "tests" / name).read_text(encoding="utf-8")
        kinds = re.findall(r'^ +"([a-zA-Z].*?)": (?:Kind\(|[a-z_]+,$)', source, re.MULTILINE)
        table = page.partition(f"`tests/{name}` |")[2].partition("\n\n")[0]
        assert len(kinds) >= 6 and re.findall(r"^\| ([a-zA-Z].*?) \|", table, re.MULTILINE)[: len(kinds)] == kinds, name
    assert settings.get_profile("long").max_examples >= 1000


def test_the_gpu_workflow_gives_notebooks_parameters_they_have() -> None:
    runs = [shlex.split(line) for line in commands("gpu.yml") if "papermill " in line]
    assert all(run[0] == "papermill" for run in runs), "a loop hides what it runs from this test"
    assert {run[1].split("/")[0] for run in runs} == {"notebooks", "exercises", "solutions"}
    for _, notebook, _, *given in runs:
        cells = json.loads((ROOT / notebook).read_text(encoding="utf-8"))["cells"]
        known = "".join(next(c["source"] for c in cells if "parameters" in c["metadata"].get("tags", ())))
        names = [given[i + 1] for i, word in enumerate(given) if word == "-p"]
        assert names and all(f"{name}: " in known for name in names), notebook
        code = "trust_remote_code: " in known and "source" in names and "hub" in given[names.index("source") * 2 + 1]
        assert not code or "trust_remote_code" in names, f"{notebook}: its models run their own code"


def test_each_step_of_the_gpu_workflow_runs_though_another_failed() -> None:
    steps = yaml.safe_load((ROOT / ".github/workflows/gpu.yml").read_text(encoding="utf-8"))["jobs"]["real-weights"][
        "steps"
    ]
    named = [step for step in steps if "run" in step and not step["name"].startswith("Install")]
    assert named and all("cancelled()" in step["if"] for step in named)


def test_every_dependency_is_pinned_in_the_lock() -> None:
    import tomllib

    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [*project["dependencies"], *(r for extra in project["optional-dependencies"].values() for r in extra)]
    locked: dict[str, list[str]] = {}
    for line in (ROOT / "requirements.lock").read_text(encoding="utf-8").split("\n"):
        if line and not line.startswith("#"):
            pin = Requirement(line)
            locked.setdefault(canonicalize_name(pin.name), []).append(str(pin.specifier).removeprefix("=="))
    for text in wanted:
        requirement = Requirement(text)
        if requirement.name == project["name"]:  # dev takes the other extras
            continue
        versions = locked.get(canonicalize_name(requirement.name), [])
        assert versions and all(requirement.specifier.contains(v) for v in versions), text
