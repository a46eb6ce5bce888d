"""What instructors are told, held against the manifest, the Makefile and the lock. Nothing is installed here.

That a wheelhouse installs with the network off was tried by hand; it takes minutes.
"""

import itertools
import json
import os
import re
import shutil
import subprocess
from importlib.metadata import requires

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from helpers import doctor
from tools import instructors
from tools.build import ROOT, manifest

PAGE = instructors.PAGE.read_text(encoding="utf-8")
LESSONS = manifest()
with_make = pytest.mark.skipif(not shutil.which("make"), reason="there is no make here")


def makefile(target: str) -> list[str]:
    """The commands that make would run for a target in a folder without an environment."""
    alone = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS", "PYTHON"))}
    dry = ["make", "-n", "-B", target]
    return subprocess.run(dry, cwd=ROOT, env=alone, capture_output=True, text=True, check=True).stdout.splitlines()


# The page


def test_the_page_says_what_the_manifest_says() -> None:
    assert instructors.written(PAGE, doctor.course()) == PAGE, "run make build, or python -m tools.instructors"


def test_a_part_that_was_lost_is_named() -> None:
    with pytest.raises(ValueError, match="has no part 'one day'"):
        instructors.written(PAGE.replace("<!-- one day", "<!-- "), doctor.course())


@pytest.mark.parametrize("path", doctor.course()["paths"])
def test_each_path_is_a_day_with_lunch_and_breaks_that_ends_in_time(path: str) -> None:
    numbers = doctor.course()["paths"][path]["lessons"]
    plan = instructors.one_day(instructors.chosen(LESSONS, numbers))
    times = [at for at, _ in plan]
    assert times == sorted(times) and times[0] == 9 * 60 and times[-1] <= 18 * 60
    assert [11 * 60 + 30 <= at <= 13 * 60 for at, what in plan if what == "lunch"] == [True]
    begun = 9 * 60
    for (at, what), (then, _) in itertools.pairwise(plan):
        if what in ("lunch", "break", "questions, and where to go on"):
            assert at - begun <= 120, what  # at a stretch
            begun = then
    assert [what[:2] for _, what in plan if what[:2].isdigit()] == numbers


def test_a_day_that_is_too_long_loses_the_exercises_that_matter_least() -> None:
    every = LESSONS[1:8]
    kept = instructors.chosen(LESSONS, [lesson["name"][:2] for lesson in every])
    worth = [(instructors.importance(a), "exercise" in b) for a, b in zip(every, kept, strict=True)]
    lost, held = [w for w, there in worth if not there], [w for w, there in worth if there]
    assert lost and max(lost) <= min(held)


def test_the_whole_course_is_spread_over_days_in_order_and_leaves_nothing_out() -> None:
    plan = instructors.days(LESSONS)
    assert [number for numbers, _ in plan for number in numbers] == [lesson["name"][:2] for lesson in LESSONS]
    assert all(minutes <= instructors.DAY for _, minutes in plan)


def test_links_that_open_lessons_online_come_with_the_repository_s_address() -> None:
    assert "its public address isn't known" not in PAGE or not doctor.course()["repository"]
    page = instructors.written(PAGE, doctor.course() | {"repository": "someone/course"})
    for lesson in LESSONS:
        assert (
            f"https://colab.research.google.com/github/someone/course/blob/HEAD/notebooks/{lesson['name']}.ipynb"
            in page
        )
        assert (
            f"https://mybinder.org/v2/gh/someone/course/HEAD?urlpath=lab/tree/notebooks/{lesson['name']}.ipynb" in page
        )
    assert "https://codespaces.new/someone/course" in page


@with_make
def test_every_command_and_file_on_the_page_exists() -> None:
    for target in set(re.findall(r"\bmake ([a-z]+)\b", PAGE)):
        assert makefile(target), target
    for link in re.findall(r"\]\((?!http)([^)#]+)\)", PAGE):
        assert (ROOT / "docs" / link).exists() or link in ("grading.md", "learners.md"), link
    for path in re.findall(r"\btests/[\w/]+(?:\.py)?\b", PAGE):
        assert (ROOT / path.replace("lesson_NN", "lesson_01")).exists(), path


# The wheelhouse


@with_make
def test_a_wheelhouse_is_made_of_the_lock_s_versions_as_wheels_with_what_builds_the_course() -> None:
    (command,) = [line for line in makefile("wheelhouse") if " pip wheel " in line]
    assert "-m pip wheel --wheel-dir wheelhouse -c requirements.lock torch==2.13.0" in command
    assert '"setuptools>=77"' in command and '".[lab]"' in command
    assert 'requires = ["setuptools>=77"]' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert "wheelhouse/" in (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()


@with_make
def test_installing_from_it_is_the_usual_install_without_an_index() -> None:
    installs = [line for line in makefile(".venv/lab.stamp") if " pip install " in line]
    without = "-m pip install --no-index --find-links wheelhouse -c requirements.lock"
    assert f"{without} torch==2.13.0" in PAGE and f'{without} -e ".[lab]"' in PAGE
    assert any('-c requirements.lock -e ".[lab]"' in line for line in installs)


def test_the_lock_names_every_package_that_a_wheelhouse_needs_down_to_the_last() -> None:
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    locked = {canonicalize_name(line.split("==")[0]) for line in lock.splitlines() if "==" in line}
    seen: set[tuple[str, str]] = set()

    def follow(name: str, extra: str) -> None:
        """Note a package, and what it needs here with that extra."""
        if (name, extra) in seen:
            return
        seen.add((name, extra))
        for requirement in map(Requirement, requires(name) or []):
            if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
                for wanted in requirement.extras | {""}:
                    follow(canonicalize_name(requirement.name), wanted)

    follow("embedding-models-course", "lab")
    follow("embedding-models-course", "")
    names = {name for name, _ in seen} - {"embedding-models-course"}
    assert len(names) > 100 and names <= locked


# The devcontainer


def test_the_devcontainer_installs_the_lab_with_a_python_of_the_course() -> None:
    container = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text(encoding="utf-8"))
    version = re.match(r"python:(3\.\d+)-", container["image"])
    assert version and doctor.PYTHONS[0] <= tuple(map(int, version[1].split("."))) <= doctor.PYTHONS[1]
    assert container["postCreateCommand"] == "make .venv/lab.stamp"
    largest = max(lesson["memory_mb"] for lesson in LESSONS) / 1000
    assert float(container["hostRequirements"]["memory"].removesuffix("gb")) > largest
