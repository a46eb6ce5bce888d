"""The zoo: submissions of exercise 09 as a class might hand them in, with the marks that each deserves.

They are made from the released notebook and the reference solution. A hostile one has solved 09.1 alone (3 points of
10), unless its text says otherwise, so that both a point gained and a point lost would show. `COURSE` stands for a
course's folder that it knows the way to, `PORT` for a server of the grader's machine.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from tests import ROOT
from tests.grading import zoo_hostile

NAME = "09_mteb"
FAILED = None
TASKS = ("09.1", "09.2", "09.3")
FUNCTIONS = dict(zip(TASKS, ("zero_shot_share", "means", "borda"), strict=True))
POINTS = dict(zip(TASKS, (3, 3, 4), strict=True))


def code_cells(folder: str) -> list[str]:
    """The code of the exercise's notebook in `exercises` or `solutions`."""
    cells = json.loads((ROOT / folder / NAME / f"{NAME}.ipynb").read_text(encoding="utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


RELEASED, SOLVED = code_cells("exercises"), code_cells("solutions")
FIRST = [SOLVED[0]]  # the import of check and hint
STUBS, RIGHT = (
    {t: next(c for c in cells if f"def {f}(" in c) for t, f in FUNCTIONS.items()} for cells in (RELEASED, SOLVED)
)


@dataclass(frozen=True)
class Animal:
    """A submission and what it deserves: points a task, or FAILED with a part of the reason."""

    name: str
    cells: list[str]
    points: Sequence[int] | None
    told: str = ""  # a part of some outcome's message, or of the reason
    shown: str = ""  # a regular expression that is found in its outputs


def notebook(**answers: str) -> list[str]:
    """The released cells, with some answers; `t1="..."` answers 09.1, the others stay stubs."""
    given = {f"09.{key[1:]}": text for key, text in answers.items()}
    cells = list(FIRST)
    for task, name in FUNCTIONS.items():
        cells += [given.get(task, STUBS[task]), f'check("{task}", {name})', f'hint("{task}", 1)']
    return cells


def solved(*tasks: str) -> dict[str, str]:
    """Right answers to these tasks, for `notebook`."""
    return {f"t{task[-1]}": RIGHT[task] for task in tasks}


ALL = solved(*TASKS)
FULL, ONE, NONE = (3, 3, 4), (3, 0, 0), (0, 0, 0)


def right() -> list[Animal]:
    full = notebook(**ALL)
    other = {task: text.replace(f"def {FUNCTIONS[task]}(", f"def my_{task[-1]}(") for task, text in RIGHT.items()}
    renamed = [*FIRST, *other.values(), *(f'check("{task}", my_{task[-1]})' for task in TASKS)]
    libraries = [
        *FIRST,
        "import numpy as np\nimport pandas as pd",
        "def zero_shot_share(training, tasks):\n    if training is not None:\n"
        "        return np.float32(100 * len(set(tasks) - training) / len(tasks))",
        "def means(scores, types):\n    s = pd.Series(scores)\n    return [s.mean(), s.groupby(types).mean().mean()]",
        "def borda(scores):\n    f = pd.DataFrame(scores).dropna().T\n"
        "    return dict((f.rank(method='min') - 1).sum(axis=1))",
    ]
    return [
        Animal("the reference solution", full, FULL),
        Animal("other names for the functions", renamed, FULL),
        Animal("pandas and NumPy instead of loops", libraries, FULL),
        Animal("cells in reverse order", full[::-1], FULL),
        Animal("the test cells deleted", [*FIRST, *RIGHT.values()], FULL),
        Animal("a cell that raises in between", [*full[:3], "1 / 0", *full[3:]], FULL),
        Animal(
            "magics, a shell line, top-level await",
            ["%time 1", "!ls", "import asyncio\nawait asyncio.sleep(0)", *full],
            FULL,
        ),
        Animal("every cell twice", full + full, FULL),
        Animal("an unfinished cell (a syntax error)", [*full, "def broken(:"], FULL),
        Animal(
            "a cell that loops forever, interruptible", [*full, "import time\nwhile True:\n    time.sleep(0.01)"], FULL
        ),
        Animal("sys.exit in a cell", [*full[:2], "import sys\nsys.exit()", *full[2:]], FULL),
    ]


def partly() -> list[Animal]:
    return [
        Animal("one of three", notebook(**solved("09.1")), ONE),
        Animal("two of three", notebook(**solved("09.1", "09.3")), (3, 0, 4)),
        Animal(
            "two, and the third raises",
            notebook(**solved("09.1", "09.2"), t3=body("09.3", "1 / 0")),
            (3, 3, 0),
            "ZeroDivisionError",
        ),
        Animal(
            "two, and the third loops",
            notebook(**solved("09.1", "09.2"), t3=body("09.3", "import time", "while True: time.sleep(0.01)")),
            (3, 3, 0),
            "didn't end",
        ),
        Animal(
            "two, and the middle one ends the process",
            notebook(**solved("09.1", "09.3"), t2=body("09.2", "import os; os._exit(0)")),
            (3, 0, 4),
            "ended its process",
        ),
        Animal(
            "two, and the middle one ignores the interrupt",
            notebook(**solved("09.1", "09.3"), t2=body("09.2", *STUBBORN)),
            (3, 0, 4),
            "ignored the interrupt",
        ),
        Animal(
            "two, and the third calls sys.exit",
            notebook(**solved("09.1", "09.2"), t3=body("09.3", "import sys; sys.exit(1)")),
            (3, 3, 0),
            "SystemExit",
        ),
    ]


STUBBORN = ("import time", "while True:", "    try: time.sleep(60)", "    except BaseException: pass")


def body(task: str, *lines: str) -> str:
    """The task's function with another body."""
    return "\n    ".join([f"def {FUNCTIONS[task]}(*case):", *lines])


def mistakes() -> list[Animal]:
    """Usual mistakes, as edits of the reference."""
    edits = [
        ("09.1", "task not in training", "task in training", "turned round"),
        ("09.1", "return 100 * sum", "return sum", "between 0 and 1"),
        ("09.1", "return None", "return 100.0", "counts as 100"),
        ("09.1", "if training is None:", "if not training:", "empty set"),
        ("09.1", "/ len(tasks)", "/ max(1, len(training))", "instead of"),
        (
            "09.2",
            "return sum(scores.values()) / len(scores), sum(of_types) / len(of_types)",
            "return (sum(of_types) / len(of_types), sum(scores.values()) / len(scores))",
            "swapped",
        ),
        ("09.2", "sum(of_types) / len(of_types)", "sum(scores.values()) / len(scores)", "both are the mean over tasks"),
        ("09.2", "sum(of_types) / len(of_types)", "sum(of_types) / len(set(types.values()))", "a type without a run"),
        ("09.3", "other[task] < runs[task]", "other[task] > runs[task]", "worst model"),
        ("09.3", "other[task] < runs[task]", "other[task] <= runs[task]", "instead of"),
        ("09.3", "set.intersection(*", "set.union(*", "KeyError"),
    ]
    found = []
    for task, old, new, told in edits:
        assert old in RIGHT[task], old
        answers = ALL | {f"t{task[-1]}": RIGHT[task].replace(old, new)}
        points = [0 if t == task else POINTS[t] for t in TASKS]
        found.append(Animal(f"mistake in {task}: {told}", notebook(**answers), points, told))
    return found


def not_attempted() -> list[Animal]:
    none = {f"t{t[-1]}": body(t, "...") for t in TASKS}
    return [
        Animal("handed in as released", RELEASED, NONE, "replace the stub"),
        Animal("functions that return nothing", notebook(**none), NONE, "returns nothing yet"),
        Animal("no code at all", [], NONE, "there is no such function"),
    ]


SHOWN = {  # what it must have seen inside: a cell that raises is no offence, so nothing else would tell
    "fork bomb": "BlockingIOError",
    "many processes": "BlockingIOError",
    "thread bomb": "can't start new thread",
    "memory, at once": "MemoryError",
    "memory, bit by bit": "MemoryError",
    "memory files": "PermissionError",
    "fills the disk": r"megabytes: (\d|1[0-6]) (\d|1[0-6]) (\d|1[0-6]) 0\\n",
    "network": r"out of reach\\nout of reach",
    "imports the reference": "no reference",
    "looks for the reference in the grader's modules": r"modules: \[\]",
    "looks for paths of the machine": r"readable: \[\] \[\]",
    "sockets of other families": "families: 1 1 1 1 made made made",
    "leaves its namespaces": "namespaces: -1 -1",
    "shows twelve pictures of 290 kB": "more outputs, cut by the grader",
    "shows 250 long texts": "more outputs, cut by the grader",
}
EXPECTED: dict[str, tuple[Sequence[int] | None, str]] = {  # what isn't (3, 0, 0) without a word
    "a cell that ignores every interrupt": (FAILED, "was stopped after 1 of"),
    "os._exit in a cell": (FAILED, "its process ended after 1 of"),
    "kills itself": (FAILED, "killed"),
    "patches the wire": (NONE, ""),
    "replaces the source of later cells (input transformer)": (NONE, ""),
    "forges messages": (NONE, "no list of its functions"),
    "forges messages that are no JSON": (FAILED, "it sent"),
    "forges a cell's number (3.0)": (FAILED, "no cell's outputs"),
    "forges a cell's number (true)": (FAILED, "no cell's outputs"),
    "forges a value of a gigabyte": (FAILED, "it sent"),
}


def hostile() -> list[Animal]:
    """Hostile cells before everything else, and answers that return what hurts."""
    one = notebook(**solved("09.1"))
    found = [
        Animal(name, [one[0], cell.strip(), *one[1:]], *EXPECTED.get(name, (ONE, "")), SHOWN.get(name, ""))
        for name, cell in zoo_hostile.CELLS.items()
    ]

    def returns(what: str, told: str, **answers: str) -> Animal:
        return Animal(f"returns {what}", notebook(**solved("09.1"), **answers), ONE, told)

    return [
        *found,
        Animal("edits the test cells", [RELEASED[0], "check = lambda *a, **k: '✔ right'", *notebook()[1:]], NONE),
        Animal("unsolved, the test cells deleted", [*FIRST, *STUBS.values()], NONE),
        Animal("unsolved, the test cells twice", RELEASED + [c for c in RELEASED if c.startswith("check(")], NONE),
        returns("what equals everything", "0.000 instead of", t2=f"{YES}\n{body('09.2', 'return (Yes(), Yes())')}"),
        returns("a list without an end", "", t2=body("09.2", "import itertools", "return itertools.count()")),
        returns("what nests without an end", "nested deeper", t2=body("09.2", "x = []", "x.append(x)", "return x")),
        returns("more than fits", "larger than 4 MB", t2=body("09.2", "return [0.0] * 10 ** 7")),
        returns("6 MB of numbers", "larger than 4 MB", t2=body("09.2", "return [0.123456789012345] * 300_000")),
        returns("a text of a gigabyte", "larger than 4 MB", t2=body("09.2", "return 'x' * 10**9")),
        returns("an array of a gigabyte", "larger than", t2=body("09.2", "import numpy", "return numpy.zeros(10**8)")),
        returns("an integer of 100,000 digits", "4,000 digits", t2=body("09.2", "return 10**100_000")),
        returns("half a character", "return 2 values", t2=body("09.2", "return 'x\\ud800y'")),
        returns("complex numbers", "complex", t2=body("09.2", "return 1 + 5j, 2 + 0j")),
        returns("an exception without a text", "can't be shown", t2=body("09.2", *MUTE)),
        returns("an exception with half a character", "ValueError", t2=body("09.2", "raise ValueError('x\\ud800y')")),
        returns("what learners know of another seed", "instead of", t2=table("09.2"), t3=table("09.3")),
    ]


MUTE = ("class Mute(Exception):", "    def __str__(self): raise ValueError", "raise Mute")
YES = """class Yes(float):
    __eq__ = __lt__ = __le__ = lambda self, other: True
    __abs__ = __sub__ = __rsub__ = lambda self, *other: 0.0
    __hash__ = float.__hash__
"""


def table(task: str) -> str:
    """An answer that knows what is right for the seed of a learner's own check, in the order of its cases."""
    from helpers import checks
    from helpers.exercises import lesson_09 as nine

    values: list[object] = [nine.means(*case) for case in checks.task("09.2").cases(0)]
    if task == "09.3":
        values = [nine.borda(*case) for case in checks.task("09.3").cases(0)]
    return f"VALUES_{task[-1]} = {values!r}\n" + body(task, f"return VALUES_{task[-1]}[0]")


ZOO = [*right(), *partly(), *mistakes(), *not_attempted(), *hostile()]
