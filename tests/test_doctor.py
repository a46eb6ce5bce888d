"""The doctor, held against each trouble it looks for; every trouble is a fake."""

import ast
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import tomllib
import venv
from pathlib import Path
from types import SimpleNamespace

import pytest

from helpers import bundled, doctor
from helpers.files import HUB_TIMEOUT_S
from tools.build import ROOT, manifest

# All that runs before anything is installed.
SOURCES = [ROOT / "helpers" / name for name in ("__init__.py", "doctor.py", "files.py", "packages.py")]


def only(check: str) -> doctor.Finding:
    """The one finding of a check."""
    (finding,) = doctor.CHECKS[check]()
    return finding


# It runs before anything is installed


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.name)
def test_it_imports_the_standard_library_only_and_an_old_python_can_read_it(source: Path) -> None:
    tree = ast.parse(source.read_text(encoding="utf-8"), feature_version=(3, 8))
    names = {node.module for node in tree.body if isinstance(node, ast.ImportFrom)}
    names |= {alias.name for node in tree.body if isinstance(node, ast.Import) for alias in node.names}
    own = {f"helpers.{path.stem}" for path in SOURCES}
    assert {str(name).split(".")[0] for name in names - own} <= sys.stdlib_module_names


@pytest.fixture
def fresh(tmp_path: Path) -> Path:
    """The course's folder as it is before `make`, with what the doctor reads."""
    (tmp_path / "helpers").mkdir()
    for name in ("pyproject.toml", "course.toml", "requirements.lock", *(f"helpers/{p.name}" for p in SOURCES)):
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def run(course: Path, *python: str | Path) -> tuple[int, str]:
    """The exit code and the words of a doctor that runs alone, without the hub, not in the tests' environment."""
    dropped = ("VIRTUAL_ENV", "CONDA_PREFIX", "PYTHONPATH", "PYTHONHOME")
    alone = {name: value for name, value in os.environ.items() if name not in dropped} | {"HF_HUB_OFFLINE": "1"}
    command = [*python, "-m", "helpers.doctor"]
    done = subprocess.run(command, cwd=course, env=alone, capture_output=True, text=True, check=False)
    assert not done.stderr, done.stderr
    return done.returncode, done.stdout


def note(site: Path, package: str, kind: str = "dist-info/METADATA") -> None:
    """What pip leaves to say that a package is installed, or, as egg-info, what building leaves beside the source."""
    file = site / f"{package.replace('-', '_')}-1.0.{kind}"
    file.parent.mkdir()
    file.write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n", encoding="utf-8")


def test_where_nothing_is_installed_a_sound_machine_is_ready_to_install(fresh: Path) -> None:
    code, told = run(fresh, sys.executable, "-S")  # -S: no packages
    assert code == 0 and "MEND" not in told
    assert told.endswith("This machine is ready to install: run `make lab`, or the plain lines of README.md.\n")
    note(fresh, doctor.COURSE, "egg-info/PKG-INFO")  # of an install whose .venv is gone
    assert run(fresh, sys.executable, "-S") == (code, told)


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    """The Python of the course's .venv, made and empty."""
    venv.create(tmp_path / ".venv", with_pip=False, symlinks=os.name != "nt")
    return tmp_path / ".venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def put(environment: Path, *packages: str) -> None:
    """Let an environment's pip say that packages are installed."""
    (site,) = environment.parents[1].rglob("site-packages")
    for package in packages:
        note(site, package)


def test_an_environment_with_nothing_in_it_is_ready_too(fresh: Path, environment: Path) -> None:
    code, told = run(fresh, environment)
    assert code == 0 and "ready to install" in told and "MEND" not in told


def test_half_an_install_is_told_with_what_is_missing_and_the_mend(fresh: Path, environment: Path) -> None:
    wanted = doctor._requirements()[""]
    put(environment, "torch", "numpy")
    code, told = run(fresh, environment)
    (mend,) = [line for line in told.splitlines() if "MEND" in line]
    lacking = re.search(r"it lacks ([^:]+):", mend)
    assert code == 1 and "ready to install" not in told and lacking
    assert lacking[1].split(", ") == [p for p in wanted if p not in ("torch", "numpy")] + ["the course itself"]
    assert "run `make lab`, or the plain lines of README.md; if that stops too, delete .venv and begin anew" in mend

    put(environment, *(p for p in wanted if p not in ("torch", "numpy")))
    code, told = run(fresh, environment)
    assert code == 1 and "MEND  the install isn't complete, it lacks the course itself:" in told

    put(environment, doctor.COURSE)
    code, told = run(fresh, environment)
    assert code == 0 and told.endswith("Nothing stands in the way.\n")


def test_a_package_unpacked_in_part_stops_no_check(fresh: Path, environment: Path) -> None:
    put(environment, "numpy")
    (site,) = environment.parents[1].rglob("site-packages")
    (site / "torch").mkdir()
    (site / "torch" / "__init__.py").touch()  # and no version.py
    code, told = run(fresh, environment)
    assert code == 1 and "torch" in told


def test_a_bad_machine_is_told_so_before_the_install_as_well(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(doctor, "_version", lambda name: None)
    monkeypatch.setattr(doctor, "_knows_the_course", lambda: False)
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda folder: SimpleNamespace(free=0.2e9))
    with pytest.raises(SystemExit) as ended:
        doctor.main()
    told = capsys.readouterr().out
    assert ended.value.code == 1 and "MEND  0.2 GB of disk are free" in told
    assert "to mend first." in told and "ready to install" not in told


def test_packages_of_another_python_and_of_an_environment_that_is_not_the_course_s_are_no_half_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "course_folder", lambda: tmp_path)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    version = doctor._version
    monkeypatch.setattr(doctor, "_version", lambda name: None if name == "flagembedding" else version(name))
    monkeypatch.setattr(doctor, "_knows_the_course", lambda: False)
    monkeypatch.delenv("VIRTUAL_ENV", raising=False)
    monkeypatch.setenv("CONDA_PREFIX", str(tmp_path / "conda"))
    assert only("packages").harmless and not list(doctor.torch()) and not list(doctor.kernel())
    (tmp_path / "conda/lib/python3.12/site-packages/embedding_models_course-0.2.0.dist-info").mkdir(parents=True)
    assert not only("kernel").harmless  # the course is there, and this is the wrong Python


def test_without_the_project_s_files_as_in_the_lab_s_image_the_checks_still_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(ROOT / "course.toml", tmp_path)
    monkeypatch.setattr(doctor, "course_folder", lambda: tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert all(finding.harmless for finding in doctor.findings() if "memory" not in finding.trouble)
    assert doctor.course()["lesson"]


@pytest.mark.skipif(not shutil.which("make"), reason="there is no make here")
def test_make_doctor_needs_no_environment() -> None:
    alone = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS", "PYTHON"))}
    dry = ["make", "-n", "doctor", "BIN=nowhere"]
    told = subprocess.run(dry, cwd=ROOT, env=alone, capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "python3 -m helpers.doctor"


# Troubles


@pytest.mark.parametrize("version", [(3, 9, 1), (3, 14, 0)])
def test_a_python_too_old_or_too_new(version: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", version)
    finding = only("Python")
    assert not finding.harmless
    assert str(finding).startswith(f"Python is {'.'.join(map(str, version))}, and the course is tested on 3.11 to 3.13")


def test_after_the_wrong_python_nothing_else_is_looked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 9, 1))
    with pytest.raises(SystemExit) as ended:
        doctor.main()
    assert ended.value.code == 1 and "packages" not in capsys.readouterr().out


def test_the_package_of_one_lesson_missing_is_said_with_that_lesson(monkeypatch: pytest.MonkeyPatch) -> None:
    version = doctor._version
    monkeypatch.setattr(doctor, "_version", lambda name: None if name == "openvino" else version(name))
    (finding,) = [f for f in doctor.packages() if "not installed" in f.trouble]
    assert finding.harmless and finding.trouble == "lesson 10 needs openvino, not installed"


def test_versions_that_differ_from_the_lock_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    version = doctor._version
    monkeypatch.setattr(doctor, "_version", lambda name: "1.26.4" if name == "numpy" else version(name))
    (finding,) = [f for f in doctor.packages() if "numpy" in f.trouble]
    assert finding.harmless and "numpy 1.26.4" in finding.trouble and "requirements.lock" in finding.mend


@pytest.mark.parametrize(
    ("build", "gpu", "sentence"),
    [
        (
            ("2.13.0+cu130", "'13.0'"),
            False,
            "torch is built for GPUs (13.0), and none answers here: it works and takes",
        ),
        (("2.13.0+cpu", "None"), True, "there is an NVIDIA GPU, and torch is built for CPUs only: all lessons run"),
        (("2.6.0+cpu", "None"), False, "torch is 2.6.0+cpu, and requirements.lock has 2.13.0: python -m pip install"),
    ],
    ids=["a GPU build without a GPU", "a CPU build with a GPU", "another version"],
)
def test_a_build_of_torch_that_does_not_fit(
    build: tuple[str, str], gpu: bool, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = f"__version__ = '{build[0]}'\ndebug = False\ncuda: Optional[str] = {build[1]}\nhip: Optional[str] = None\n"
    (tmp_path / "version.py").write_text(lines, encoding="utf-8")
    monkeypatch.setattr(doctor, "_torch_folder", lambda: tmp_path)
    monkeypatch.setattr(doctor, "_gpu", lambda: gpu)
    finding = only("torch")
    assert finding.harmless and str(finding).startswith(sentence)


@pytest.mark.parametrize("gpu", [True, False])
def test_a_build_that_fits_is_no_finding(gpu: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build = f"__version__ = '2.13.0'\ncuda: Optional[str] = {chr(39) + '13.0' + chr(39) if gpu else None}\n"
    (tmp_path / "version.py").write_text(build, encoding="utf-8")
    monkeypatch.setattr(doctor, "_torch_folder", lambda: tmp_path)
    monkeypatch.setattr(doctor, "_gpu", lambda: gpu)
    assert not list(doctor.torch())


def test_a_driver_that_hangs_or_fails_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    def hangs(*args: object, **kwargs: object) -> None:
        raise subprocess.TimeoutExpired("nvidia-smi", 10)

    monkeypatch.setattr(doctor.shutil, "which", lambda name: name)
    monkeypatch.setattr(doctor.subprocess, "run", hangs)
    assert doctor._gpu() is False
    monkeypatch.setattr(doctor.subprocess, "run", lambda *a, **k: SimpleNamespace(returncode=9, stdout=b"no GPU"))
    assert doctor._gpu() is False


def test_a_kernel_of_another_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".venv").mkdir()
    monkeypatch.setattr(doctor, "course_folder", lambda: tmp_path)
    monkeypatch.setattr(doctor, "_installed", lambda: False)
    finding = only("kernel")
    assert not finding.harmless and sys.prefix in finding.trouble and "Change Kernel" in finding.mend


def test_a_kernel_beside_the_active_conda_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "course_folder", lambda: tmp_path)
    monkeypatch.delenv("VIRTUAL_ENV", raising=False)
    monkeypatch.setenv("CONDA_PREFIX", str(tmp_path / "conda"))
    monkeypatch.setattr(doctor, "_installed", lambda: True)
    assert only("kernel").harmless  # all packages are in this one too
    monkeypatch.setenv("CONDA_PREFIX", sys.prefix)
    assert not list(doctor.kernel())


def test_too_little_memory_for_any_lesson_and_for_some(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_free_memory_gb", lambda: 0.4)
    finding = only("memory")
    assert not finding.harmless and finding.trouble.startswith("0.4 GB of memory are free, and the lessons take up to")
    most = max(lesson["memory_mb"] for lesson in manifest())
    monkeypatch.setattr(doctor, "_free_memory_gb", lambda: most / 1000 - 0.1)
    finding = only("memory")
    assert finding.harmless and "14" in finding.trouble and "00" not in finding.trouble


def test_a_container_s_limit_counts_and_not_only_what_the_machine_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "memory.max").write_text("500000000\n", encoding="ascii")
    monkeypatch.setattr(doctor, "CGROUP_LIMIT", tmp_path / "memory.max")
    assert doctor._free_memory_gb() == 0.5


def test_a_full_disk_and_a_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMBEDDING_COURSE_CACHE", str(tmp_path / "not" / "yet"))
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda folder: SimpleNamespace(free=0.2e9))
    finding = only("disk")
    assert not finding.harmless and finding.trouble.startswith("0.2 GB of disk are free for")
    assert "EMBEDDING_COURSE_CACHE" in finding.mend
    monkeypatch.setattr(doctor, "_installed", lambda: False)
    assert len(list(doctor.disk())) == 2  # and no room for the install
    monkeypatch.setattr(doctor.os, "access", lambda folder, mode: False)
    assert all("can't be written" in finding.trouble for finding in doctor.disk())


def test_a_hub_that_does_not_answer_is_harmless_and_given_up_within_three_seconds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.getsockname()[1]}")
        start = time.perf_counter()
        finding = only("hub")
        assert time.perf_counter() - start < HUB_TIMEOUT_S + 1
    assert finding.harmless and "doesn't answer" in finding.trouble
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")  # whoever wants no hub is told nothing
    assert not list(doctor.hub())


# What it says fits the course


def test_every_finding_is_one_sentence_with_a_mend() -> None:
    finding = doctor.Finding("the disk is full", "make room")
    assert str(finding) == "the disk is full: make room."


def test_where_the_tests_run_nothing_must_be_mended_first() -> None:
    for check in ("Python", "packages", "kernel"):
        assert all(finding.harmless for finding in doctor.CHECKS[check]()), check


def test_the_doctor_looks_into_the_cache_that_models_are_kept_in(monkeypatch: pytest.MonkeyPatch) -> None:
    assert doctor._cache_folder() == bundled.cache_folder()
    monkeypatch.delenv("EMBEDDING_COURSE_CACHE", raising=False)
    assert doctor._cache_folder() == bundled.cache_folder()


def test_the_extras_it_speaks_of_are_those_of_pyproject_and_the_lessons_those_of_the_course() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert set(doctor.LESSONS_OF) <= set(project["optional-dependencies"])
    assert set(doctor.LESSONS_OF.values()) <= {lesson["name"][:2] for lesson in manifest()}
    assert project["requires-python"] == ">=3.11,<3.14" and doctor.PYTHONS == ((3, 11), (3, 13))
