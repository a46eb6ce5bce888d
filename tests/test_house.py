"""The house: which room uses which, and what the doors cost to open."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

HELPERS = Path(__file__).parent.parent / "helpers"
# From the ground up; a room uses only rooms that stand before it. CONTRIBUTING.md has the picture.
ROOMS = (
    "errors",
    "files",
    "packages",
    "catalog",
    "doctor",
    "data",
    "bundled",
    "models",
    "encode",
    "measure",
    "search",
    "migrate",
    "parity",
    "costs",
    "choosing",
    "server",
    "benchmark",
    "checks",
    "exercises",
)
LIGHT = ("helpers", "helpers.catalog", "helpers.data", "helpers.doctor", "helpers.checks")
HEAVY = ("torch", "pandas", "pyarrow", "datasets", "sentence_transformers", "transformers", "onnxruntime")


def room(name: str) -> str:
    """The room of a dotted name such as `helpers.encode.tokens`; "" is the face."""
    return [*name.split("."), ""][1]


def imports(path: Path) -> Iterator[str]:
    """The modules of helpers that a file imports anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "helpers")
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "helpers":
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def arrows() -> dict[tuple[str, str], list[str]]:
    """(from, to) to the files that import that way, between the rooms; the face is no room."""
    found: dict[tuple[str, str], list[str]] = {}
    for path in sorted(HELPERS.rglob("*.py")):
        if path == HELPERS / "__init__.py":
            continue
        here = path.relative_to(HELPERS).parts[0].removesuffix(".py")
        for name in imports(path):
            if room(name) not in ("", here, "load", "weights"):
                found.setdefault((here, room(name)), []).append(str(path.relative_to(HELPERS)))
    return found


def test_every_room_has_its_place_and_no_arrow_points_up() -> None:
    there = {path.stem for path in HELPERS.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert there - {"__init__"} == set(ROOMS)
    upwards = {a: files for a, files in arrows().items() if ROOMS.index(a[1]) >= ROOMS.index(a[0])}
    assert not upwards


def test_there_are_few_floors_and_fewer_than_50_arrows() -> None:
    """The exercises, which may use every room, aren't counted."""
    down = [arrow for arrow in arrows() if arrow[0] != "exercises"]
    floor: dict[str, int] = {}
    for name in ROOMS[:-1]:
        floor[name] = 1 + max((floor[to] for here, to in down if here == name), default=0)
    print(f"{len(floor)} rooms on {max(floor.values())} floors with {len(down)} arrows")
    assert len(down) < 50 and max(floor.values()) <= 7


def test_imports_run_along_the_picture_in_contributing_and_no_arrow_of_it_is_idle() -> None:
    page = (HELPERS.parent / "CONTRIBUTING.md").read_text(encoding="utf-8")
    lines = page.partition("subgraph helpers")[2].partition("end\n")[0].splitlines()
    sides = [[side.strip().split(" & ") for side in line.split(" --> ")] for line in lines if "-->" in line]
    drawn = {(one, other) for left, right in sides for one in left for other in right}
    used = set(arrows())
    assert drawn <= used
    way = set(drawn)
    for through in ROOMS:  # whoever reaches a room reaches what it reaches
        way |= {(a, d) for a, b in way if b == through for c, d in way if c == through}
    assert used <= way


@pytest.mark.parametrize("module", LIGHT)
def test_a_door_that_needs_no_model_loads_no_heavy_library(module: str) -> None:
    code = f"import sys, {module}; print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
