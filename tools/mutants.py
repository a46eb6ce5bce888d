"""Could the tests fail? Sample small faults of helpers and tools/grading, and print those that no test notices.

    python -m tools.mutants --seed 1 --number 60          nightly; on Linux, in a scratch copy of what git tracks

A mutant is one fault in one place: a comparison turned round, an argument not passed on, a statement left out.
Each runs the tests of TESTS that mirror its package, quickest first, until one fails; that one is then run without
the mutant, so that no test that always fails kills any. mutmut and cosmic-ray make all mutants and no sample.
"""

import argparse
import ast
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from multiprocessing import get_context
from pathlib import Path

import pytest

FAILED = "the-test-that-failed"
ROOT = Path(__file__).parent.parent
TESTS = {  # what mirrors a package, quickest first
    "helpers/errors.py": "tests/test_catalog.py tests/data",
    "helpers/files.py": "tests/models/test_packages.py tests/test_doctor.py tests/models/test_models.py",
    "helpers/packages.py": "tests/models/test_packages.py tests/test_doctor.py tests/test_weights.py",
    "helpers/catalog.py": "tests/test_catalog.py tests/choosing",
    "helpers/doctor.py": "tests/test_doctor.py",
    "helpers/data/": "tests/data tests/test_own_data.py tests/test_hub_data.py tests/test_fuzz_data.py",
    "helpers/bundled/": "tests/models/test_models.py tests/models/test_packages.py tests/benchmark/test_one_model.py",
    "helpers/models/": "tests/models/test_folder.py tests/test_fuzz_numbers.py tests/models tests/test_weights.py",
    "helpers/encode/": "tests/encode tests/models/test_cross_library.py",
    "helpers/measure/": "tests/measure tests/test_fuzz_numbers.py",
    "helpers/costs/": "tests/costs",
    "helpers/choosing/": "tests/choosing",
    "helpers/server/": "tests/server/test_batcher.py tests/server/test_server.py tests/server",
    "helpers/benchmark/": "tests/benchmark",
    "helpers/checks/": "tests/checks tests/grading/test_grading.py",
    "helpers/exercises/": "tests/checks/test_exercises.py",
    "helpers/__init__.py": "tests/models/test_models.py",
    "tools/grading/": "tests/grading/test_collect.py tests/grading/test_fuzz.py tests/grading",
}
SWAPS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.And: ast.Or, ast.Or: ast.And,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Div, ast.Pow: ast.Mult,
}  # fmt: skip


@dataclass(frozen=True)
class Mutant:
    """One fault: its kind, and the piece of a file (in bytes) with what stands there instead."""

    kind: str
    path: str
    line: int
    start: int
    end: int
    text: str

    def __str__(self) -> str:
        was = (ROOT / self.path).read_bytes()[self.start : self.end].decode()
        return f"{self.path}:{self.line} {self.kind}: {' '.join(was.split())[:70]} -> {self.text[:70]}"


def changed(node: ast.AST) -> Iterator[tuple[str, str]]:
    """(kind, new text) for each fault that a node can have."""
    match node:
        case ast.Compare(left, [op], [right]) if type(op) in SWAPS:
            yield "comparison", ast.unparse(ast.Compare(left, [SWAPS[type(op)]()], [right]))  # type: ignore[list-item]
        case ast.BoolOp(op, values):
            yield "and, or", ast.unparse(ast.BoolOp(SWAPS[type(op)](), values))  # type: ignore[arg-type]
        case ast.UnaryOp(ast.Not(), operand):
            yield "not", ast.unparse(operand)
        case ast.BinOp(left, op, right) if type(op) in SWAPS:
            yield "arithmetic", f"({ast.unparse(ast.BinOp(left, SWAPS[type(op)](), right))})"  # type: ignore[arg-type]
        case ast.Constant(bool() as value):
            yield "constant", str(not value)
        case ast.Constant(int() | float() as value):
            yield "constant", str(value + 1)
        case ast.If(test) | ast.IfExp(test):
            yield "condition", f"not ({ast.unparse(test)})"
        case ast.Call(func, args, keywords) if keywords:
            for dropped in keywords:
                yield "argument", ast.unparse(ast.Call(func, args, [k for k in keywords if k is not dropped]))
        case ast.Expr(ast.Call()) | ast.Raise() | ast.AugAssign():
            yield "statement", "pass"


def mutants_of(path: Path) -> Iterator[Mutant]:
    """Every mutant of a file; none in decorators, annotations and defaults of the type checker."""
    source = path.read_bytes()
    begins = [0]
    for line in source.splitlines(keepends=True):
        begins.append(begins[-1] + len(line))
    tree = ast.parse(source)
    left_out = {id(inner) for node in ast.walk(tree) for outer in quiet(node) for inner in ast.walk(outer)}
    for node in ast.walk(tree):
        place = node.test if isinstance(node, ast.If | ast.IfExp) else node
        if id(node) not in left_out and isinstance(place, ast.expr | ast.stmt):
            start = begins[place.lineno - 1] + place.col_offset
            end = begins[(place.end_lineno or 1) - 1] + (place.end_col_offset or 0)
            for kind, text in changed(node):
                yield Mutant(kind, path.relative_to(ROOT).as_posix(), place.lineno, start, end, text)


def quiet(node: ast.AST) -> list[ast.expr]:
    """Parts of a node whose faults no run can show."""
    parts = [*getattr(node, "decorator_list", []), getattr(node, "annotation", None), getattr(node, "returns", None)]
    inside = isinstance(node, ast.JoinedStr)  # a piece of an f-string has no place of its own before Python 3.12
    return [*filter(None, parts), *([node] if inside else [])]


def sample(number: int, seed: int) -> list[Mutant]:
    """So many mutants, of each kind in turn, never two on one line."""
    files = subprocess.run(
        ["git", "ls-files", "helpers/*.py", "tools/grading/*.py"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    by_kind: defaultdict[str, list[Mutant]] = defaultdict(list)
    for mutant in (mutant for name in files for mutant in mutants_of(ROOT / name)):
        by_kind[mutant.kind].append(mutant)
    draw, chosen = random.Random(seed), dict[tuple[str, int], Mutant]()
    for found in by_kind.values():
        draw.shuffle(found)
    while len(chosen) < number and any(by_kind.values()):
        for found in filter(None, by_kind.values()):
            mutant = found.pop()
            chosen.setdefault((mutant.path, mutant.line), mutant)
    return list(chosen.values())[:number]


def inside(copy: Path, tests: list[str]) -> None:
    """In a process of its own: run tests in the copy, and note the first that fails."""
    os.setsid()
    os.chdir(copy)
    os.environ["PYTHONPATH"] = str(copy)
    sys.path[:] = [str(copy), *(place for place in sys.path if place and Path(place).resolve() != ROOT)]
    for name in [name for name in sys.modules if name.partition(".")[0] in ("tools", "helpers", "tests")]:
        del sys.modules[name]
    with open(os.devnull, "w") as nothing:
        os.dup2(nothing.fileno(), 1)
        os.dup2(nothing.fileno(), 2)

    class Order:
        def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
            if report.failed:
                (copy / FAILED).write_text(report.nodeid, encoding="utf-8")

        @pytest.hookimpl(trylast=True)
        def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
            places = [(copy / test.partition("::")[0]).resolve() for test in tests]
            items.sort(key=lambda item: next(i for i, at in enumerate(places) if item.path.is_relative_to(at)))

    os._exit(pytest.main(["-x", "-q", "-p", "no:cacheprovider", *tests], [Order()]))


def run(copy: Path, tests: list[str], seconds: float) -> tuple[str, str]:
    """Run tests in the copy: ("passed", "failed" or "out of time", the test that failed)."""
    (copy / FAILED).unlink(missing_ok=True)
    process = get_context("fork").Process(target=inside, args=(copy, tests))  # libraries are read once, before
    process.start()
    process.join(seconds)
    ended = process.exitcode
    with suppress(ProcessLookupError):
        os.killpg(process.pid or 0, signal.SIGKILL)  # and servers that a test left behind
    process.join()
    if ended is None:
        return "out of time", ""
    return ("passed" if ended == 0 else "failed"), (copy / FAILED).read_text(encoding="utf-8") if (
        copy / FAILED
    ).exists() else ""


def main(number: int, seed: int, seconds: float, skip: int) -> None:
    """Try mutants of a seed, and print those that live; ends with 1 where fewer than nine of ten died."""
    import sentence_transformers  # noqa: F401, so that no child has to

    found: Counter[str] = Counter()
    sound: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
        for name in filter(None, listed.stdout.split("\0")):
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, copy / name)
        for mutant in sample(number, seed)[skip:]:
            begun, path = time.monotonic(), copy / mutant.path
            was = path.read_bytes()
            path.write_bytes(was[: mutant.start] + mutant.text.encode() + was[mutant.end :])
            tests = next(tests for place, tests in TESTS.items() if mutant.path.startswith(place)).split()
            outcome, test = run(copy, tests, seconds)
            path.write_bytes(was)
            if test and test not in sound:
                sound[test] = run(copy, [test], seconds)[0]
            outcome = "killed" if outcome == "failed" and sound.get(test, "passed") == "passed" else outcome
            outcome = {"passed": "LIVES", "failed": "unknown: that test fails without it"}.get(outcome, outcome)
            found[outcome] += 1
            print(f"{outcome:12} {time.monotonic() - begun:4.0f} s  {mutant}  {test}", flush=True)
    print(", ".join(f"{name} {n}" for name, n in found.most_common()))
    sys.exit(found["LIVES"] > 0.1 * found.total())


if __name__ == "__main__":
    given = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    given.add_argument("--number", type=int, default=60)
    given.add_argument("--seed", type=int, default=date.today().toordinal())
    given.add_argument("--seconds", type=float, default=600, help="limit of one mutant's tests")
    given.add_argument("--skip", type=int, default=0, help="leave out so many of the sample, to go on with it")
    main(**vars(given.parse_args()))
