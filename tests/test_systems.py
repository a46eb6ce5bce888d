"""What runs on one system alone is imported where it is used, so that everything else runs on the others."""

import ast
import subprocess
import sys
import tomllib
from importlib.metadata import distribution, packages_distributions

import nbformat
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests import ROOT

LINUX_ONLY = ("tests/grading", "tools/grading")  # the sandbox; its tests skip elsewhere
SYSTEMS_OWN = {"fcntl", "grp", "pwd", "resource", "termios", "winreg", "msvcrt"}
CODE = [
    path
    for folder in ("helpers", "tools", "tests", "benchmarks")
    for path in sorted((ROOT / folder).rglob("*.py"))
    if not path.relative_to(ROOT).as_posix().startswith(LINUX_ONLY)
]


def imported(node: ast.AST) -> set[str]:
    """The first part of each module that a statement imports."""
    if isinstance(node, ast.Import):
        return {alias.name.split(".")[0] for alias in node.names}
    return {node.module.split(".")[0]} if isinstance(node, ast.ImportFrom) and node.module and not node.level else set()


def test_no_module_of_one_system_is_imported_at_the_top() -> None:
    tops = {path: set().union(*map(imported, ast.parse(path.read_text(encoding="utf-8")).body)) for path in CODE}
    assert not {str(path.relative_to(ROOT)): names & SYSTEMS_OWN for path, names in tops.items() if names & SYSTEMS_OWN}


@pytest.mark.execution
def test_everything_is_imported_where_these_modules_and_fork_are_missing() -> None:
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in CODE]
    code = f"""
import importlib, os, sys
import IPython, filelock, fsspec, matplotlib.pyplot, pandas, pyarrow, ray, sentence_transformers, uvicorn  # their own
for name in {sorted(SYSTEMS_OWN)}:
    sys.modules[name] = None
del os.fork
for name in {names}:
    importlib.import_module(name)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


def test_files_are_opened_with_an_encoding() -> None:
    offenders = []
    for path in CODE:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            arguments = {"read_text": 0, "write_text": 1}.get(node.func.attr)
            text = arguments is not None and len(node.args) <= arguments
            if text and not any(word.arg == "encoding" for word in node.keywords):
                offenders.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert not [place for place in offenders if not place.startswith("tests/")]


def closure(extra: str) -> set[str]:
    """The distributions that an install of the course with an extra brings, as pyproject and their metadata say."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras, found = project["optional-dependencies"], set[str]()
    waiting = [Requirement(text) for text in (*project["dependencies"], *extras[extra])]
    while waiting:
        requirement = waiting.pop()
        if requirement.name == project["name"]:
            waiting += [Requirement(text) for name in requirement.extras for text in extras[name]]
        elif (key := canonicalize_name(requirement.name)) not in found or requirement.extras:
            found.add(key)
            for needed in map(Requirement, distribution(requirement.name).requires or ()):
                names = (*requirement.extras, "")
                if needed.marker is None or any(needed.marker.evaluate({"extra": name}) for name in names):
                    waiting += [needed] if canonicalize_name(needed.name) not in found else []
    return found


def test_what_a_learner_installs_has_every_import_of_the_notebooks() -> None:
    installed = closure("lab")
    owners = packages_distributions()
    missing: dict[str, set[str]] = {}
    for path in [p for folder in ("notebooks", "exercises", "solutions") for p in (ROOT / folder).rglob("*.ipynb")]:
        for cell in nbformat.read(path, as_version=4).cells:
            if cell.cell_type != "code":
                continue
            for node in ast.walk(ast.parse(cell.source)):
                for top in imported(node) - sys.stdlib_module_names - {"helpers", "__future__"}:
                    if not installed & {canonicalize_name(owner) for owner in owners.get(top, ())}:
                        missing.setdefault(top, set()).add(path.stem)
    assert not missing
