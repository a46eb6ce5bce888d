"""The images and the compose file, held against the lock, the repository and the server; nothing is built here."""

import ast
import json
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement

from helpers.server import Settings, create_app
from tests import ROOT

DEPLOY = ROOT / "deploy"
DOCKERFILES = ["Dockerfile.server", "Dockerfile.lab"]
IGNORED = {"helpers", "__future__", *sys.stdlib_module_names}


def instructions(name: str) -> list[tuple[str, str]]:
    """The instructions of a Dockerfile, continued lines joined, as (keyword, rest)."""
    lines = [line for line in (DEPLOY / name).read_text().splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    return [(line.split(maxsplit=1)[0], line.split(maxsplit=1)[1]) for line in joined.splitlines() if line.strip()]


def of(name: str, keyword: str) -> list[str]:
    return [rest for found, rest in instructions(name) if found == keyword]


def locked() -> dict[str, set[str]]:
    """The versions of each package in the lock (several where they differ by Python)."""
    versions: dict[str, set[str]] = {}
    for line in (ROOT / "requirements.lock").read_text().splitlines():
        if line and not line.startswith("#"):
            requirement = Requirement(line)
            versions.setdefault(requirement.name, set()).add(str(requirement.specifier).removeprefix("=="))
    return versions


def installed(name: str) -> dict[str, str]:
    """Packages that a Dockerfile installs by name, with their pinned versions."""
    words = [word for run in of(name, "RUN") if "pip install" in run for word in shlex.split(run)]
    pins = [word.split("==") for word in words if "==" in word]
    return {package: version for package, version in pins}


def file_of(module: str) -> Path | None:
    """The file of a module of helpers, a package's face included; None for what is no module."""
    path = ROOT.joinpath(*module.split("."))
    return next((p for p in (path.with_suffix(".py"), path / "__init__.py") if p.exists()), None)


def imports(module: str, seen: set[str]) -> set[str]:
    """Third-party packages that a module of helpers imports when it is imported, its neighbours' included."""
    if module in seen:
        return set()
    seen.add(module)
    parent = module.rpartition(".")[0]
    found = imports(parent, seen) if parent else set()
    path = file_of(module)
    assert path, module
    for node in ast.parse(path.read_text()).body:
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            top = name.partition(".")[0]
            if top == "helpers":
                found |= imports(name, seen) if file_of(name) else set()
            elif top not in IGNORED:
                found.add(top)
    return found


@pytest.mark.parametrize("name", DOCKERFILES)
def test_versions_in_a_dockerfile_are_those_of_the_lock(name: str) -> None:
    pins = installed(name)
    assert pins["torch"] == "2.13.0"
    for package, version in pins.items():
        assert version in locked()[package], package


@pytest.mark.parametrize("name", DOCKERFILES)
def test_torch_is_installed_first_and_the_lock_constrains_every_install(name: str) -> None:
    installs = [run for run in of(name, "RUN") if "pip install" in run]
    assert "torch==" in installs[0]
    assert all("-c requirements.lock" in run or "--no-deps" in run for run in installs)
    assert any("PIP_NO_CACHE_DIR=1" in env for env in of(name, "ENV"))


def test_the_server_image_has_what_the_server_imports() -> None:
    distributions = packages_distributions()
    named = {
        distribution.lower().replace("_", "-")
        for top in imports("helpers.server", set())
        for distribution in distributions.get(top, [top])
    }
    assert "fastapi" in named and "sentence-transformers" in named
    # starlette and anyio come with fastapi
    assert named - {"starlette", "anyio"} <= set(installed("Dockerfile.server"))


@pytest.mark.parametrize("name", DOCKERFILES)
def test_every_copied_file_is_in_the_repository_and_let_through_by_dockerignore(name: str) -> None:
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    sources = [
        source
        for rest in of(name, "COPY")
        if "--from=" not in rest
        for source in [word for word in rest.split() if not word.startswith("--")][:-1]
    ]
    assert sources
    for source in sources:
        assert (ROOT / source).exists(), source
        assert source in allowed, source


@pytest.mark.parametrize("name", DOCKERFILES)
def test_an_image_runs_as_an_ordinary_user_from_a_pinned_base_in_two_stages(name: str) -> None:
    bases = of(name, "FROM")
    assert len(bases) == 2 and len({base.split()[0] for base in bases}) == 1
    assert re.match(r"python:3\.11\.\d+-slim-\w+", bases[-1])
    keywords = [keyword for keyword, _ in instructions(name)]
    assert of(name, "USER") == ["10001:10001"]
    assert keywords.index("USER") > max(i for i, keyword in enumerate(keywords) if keyword in ("RUN", "COPY"))


@pytest.mark.parametrize("name", DOCKERFILES)
def test_process_one_is_the_server_itself_and_its_health_is_asked(name: str) -> None:
    (command,) = of(name, "CMD")
    words = json.loads(command)  # exec form: no shell between the engine's SIGTERM and the server
    (health,) = of(name, "HEALTHCHECK")
    (port,) = of(name, "EXPOSE")
    assert words[0] in ("uvicorn", "jupyter")
    assert port in " ".join(words)
    assert f"127.0.0.1:{port}/" in health and "--start-period" in health
    json.loads(health.partition(" CMD ")[2])


def test_the_server_answers_health_at_the_path_that_docker_asks() -> None:
    app = create_app(Settings())
    assert "/health" in of("Dockerfile.server", "HEALTHCHECK")[0]
    assert {"/health", "/metrics"} <= set(app.openapi()["paths"]) | {getattr(r, "path", "") for r in app.routes}


def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yml").read_text())
    return found


def test_the_compose_file_fits_the_compose_specification() -> None:
    checked = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", DEPLOY / "compose.yml"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout


def test_every_setting_named_for_the_server_exists() -> None:
    prefix = Settings.model_config["env_prefix"]
    named = [*compose()["services"]["embeddings"]["environment"]]
    named += re.findall(r"\b(EMBED_\w+)=", " ".join(of("Dockerfile.server", "ENV")))
    assert len(named) >= 2
    for name in named:
        assert name.removeprefix(prefix).lower() in Settings.model_fields, name


def test_ports_are_bound_to_this_machine_and_memory_is_limited() -> None:
    for name, service in compose()["services"].items():
        assert all(port.startswith("127.0.0.1:") for port in service["ports"]), name
        assert "mem_limit" in service and service["cap_drop"] == ["ALL"], name
        assert ":latest" not in service["image"], name


def test_no_key_is_written_down() -> None:
    assert compose()["services"]["embeddings"]["environment"]["EMBED_API_KEYS"].startswith("${EMBED_API_KEYS:?")
    assert compose()["secrets"]["embed_api_key"]["file"] == "./embed_api_key"


def test_prometheus_asks_the_server_on_its_port_with_the_key_from_a_file() -> None:
    (job,) = yaml.safe_load((DEPLOY / "prometheus.yml").read_text())["scrape_configs"]
    ((target,),) = [config["targets"] for config in job["static_configs"]]
    service, port = target.split(":")
    assert service in compose()["services"] and of("Dockerfile.server", "EXPOSE") == [port]
    assert job["metrics_path"] == "/metrics"
    (secret,) = compose()["services"]["prometheus"]["secrets"]
    assert job["authorization"] == {"type": "Bearer", "credentials_file": f"/run/secrets/{secret}"}


def test_the_engine_waits_longer_for_the_server_than_the_server_for_its_requests() -> None:
    commands = " ".join(json.loads(of("Dockerfile.server", "CMD")[0])), (ROOT / "Makefile").read_text()
    (drain,) = {int(found) for text in commands for found in re.findall(r"--timeout-graceful-shutdown (\d+)", text)}
    assert Settings.model_fields["max_wait_s"].default < drain
    assert drain < int(compose()["services"]["embeddings"]["stop_grace_period"].removesuffix("s"))


def test_every_command_that_starts_the_server_limits_its_connections_below_the_usual_limit_of_open_files() -> None:
    commands = " ".join(json.loads(of("Dockerfile.server", "CMD")[0])), (ROOT / "Makefile").read_text()
    for text in commands:
        (limit,) = re.findall(r"--limit-concurrency (\d+)", text)
        assert 200 < int(limit) < 1024


@pytest.fixture(scope="module")
def wheel_environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment that holds the project's wheel, and beside it the packages of this one."""
    folder = tmp_path_factory.mktemp("image")
    source = folder / "source"
    for path in ("pyproject.toml", "README.md", "LICENSE", "LICENSE-texts"):
        source.mkdir(exist_ok=True)
        shutil.copy(ROOT / path, source)
    shutil.copytree(ROOT / "helpers", source / "helpers", ignore=shutil.ignore_patterns("__pycache__"))
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", folder, source], check=True, capture_output=True)
    venv.create(folder / "venv", with_pip=False, symlinks=sys.platform != "win32")
    scripts = folder / "venv" / ("Scripts" if sys.platform == "win32" else "bin")
    python = scripts / Path(sys.executable).name
    found = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        check=True,
        capture_output=True,
        text=True,
    )
    site = Path(found.stdout.strip())
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as contents:
        contents.extractall(site)
    (site / "others.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    return python


def image(name: str, folder: Path) -> None:
    """What the last stage of a Dockerfile copies from the repository, as it lies in the image."""
    last = instructions(name)[max(i for i, (keyword, _) in enumerate(instructions(name)) if keyword == "FROM") :]
    for keyword, rest in last:
        if keyword == "COPY" and "--from=" not in rest:
            *sources, target = [word for word in rest.split() if not word.startswith("--")]
            for source in sources:
                if (ROOT / source).is_dir():
                    shutil.copytree(ROOT / source, folder / target)
                else:
                    shutil.copy(ROOT / source, folder / target)


LESSON_00 = """
import sys, nbformat
from nbclient import NotebookClient
import helpers
assert "image" in helpers.__file__, helpers.__file__
notebook = nbformat.read("notebooks/00_start_here.ipynb", as_version=4)
NotebookClient(notebook, resources={"metadata": {"path": "notebooks"}}, timeout=300).execute()
"""
FIRST_ANSWER = """
import time
import helpers
assert "image" in helpers.__file__, helpers.__file__
from fastapi.testclient import TestClient
from helpers import data
from helpers.server import create_app
assert data.read("course").pairs
with TestClient(create_app()) as client:
    for _ in range(600):
        if client.get("/health").status_code == 200:
            break
        time.sleep(0.2)
    answer = client.post("/v1/embeddings", json={"model": "all-MiniLM-L6-v2", "input": "hello"})
assert answer.status_code == 200 and len(answer.json()["data"][0]["embedding"]) == 384, answer.text
"""


@pytest.mark.execution
@pytest.mark.parametrize(("name", "code"), zip(DOCKERFILES, (FIRST_ANSWER, LESSON_00), strict=True))
def test_what_an_image_holds_is_enough(name: str, code: str, wheel_environment: Path, tmp_path: Path) -> None:
    image(name, tmp_path)
    done = subprocess.run([wheel_environment, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
