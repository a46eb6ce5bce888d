"""Judge a submission: its answers are called in the sandbox, what they return is compared here.

Inputs are drawn from the grading run's seed, and put to the learner's function in an order that the seed draws too, so
that neither a list of answers nor counting calls gains anything.
"""

import json
import multiprocessing
import os
import re
import resource
import signal
import time
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from helpers import checks
from helpers.checks import Outcome, Task
from tools.grading.remote import EndedError, LearnersError, Remote, Submission, UnfitError
from tools.grading.sandbox import Limits, Rooms

JUDGE_MB = 3000  # what judging may take beyond what this process has: a hostile value must not fill the machine


@dataclass(frozen=True)
class Verdict:
    """What became of a submission: an outcome for each task, or `failed` with the reason."""

    outcomes: tuple[Outcome, ...] = ()
    failed: str | None = None
    outputs: dict[int, list[dict[str, Any]]] = field(default_factory=dict)  # of the code cells, by their number

    @property
    def points(self) -> int | None:
        """The sum over the tasks; None for what has failed."""
        return None if self.failed else sum(outcome.points for outcome in self.outcomes)


@dataclass(frozen=True)
class Exercise:
    """What a submission is held against: its tasks, and the name of the function that each asks for."""

    name: str
    functions: dict[str, str]  # task id to name
    cells: frozenset[str] = frozenset()  # the ids of its cells for grading


def judge(
    cells: list[tuple[int, str]],
    exercise: Exercise,
    seed: int,
    limits: Limits,
    rooms: Rooms,
    *,
    unsafe: bool = False,
) -> Verdict:
    """Run a submission's cells and judge each task.

    A task whose function ends the process gets no points, and the tasks behind it are judged in a new one.
    """
    outcomes: list[Outcome] = []
    failed: str | None = None
    outputs: dict[int, list[dict[str, Any]]] = {}
    for told in judging(list(exercise.functions), cells, exercise, seed, limits, rooms, unsafe=unsafe):
        outcomes += [told] if isinstance(told, Outcome) else []
        failed = told.failed if isinstance(told, Verdict) else failed
        outputs = told.outputs if isinstance(told, Verdict) else outputs
    return Verdict(() if failed else tuple(outcomes), failed, outputs)


def judging(  # noqa: PLR0917, as judge
    tasks: list[str],
    cells: list[tuple[int, str]],
    exercise: Exercise,
    seed: int,
    limits: Limits,
    rooms: Rooms,
    *,
    unsafe: bool = False,
) -> Iterator[str | Outcome | Verdict]:
    """What `judge` finds, as it finds it: a task's id before it is tried, its outcome, at the end a bare verdict.

    So a caller knows which task it was in whose judging a process ended.
    """
    left = [checks.task(task_id) for task_id in tasks]
    outputs: dict[int, list[dict[str, Any]]] = {}
    while left:
        with Submission(cells, limits, rooms, unsafe=unsafe) as submission:
            try:
                submission.load()
            except EndedError as error:
                yield Verdict((), str(error), outputs or submission.outputs)
                return
            outputs = outputs or submission.outputs
            while left:
                task = left.pop(0)
                yield task.id
                try:
                    name = exercise.functions[task.id]
                    answers = submission.answers(name, task.id)
                    yield _best(task, answers, seed) if answers else _absent(task, name, cells, outputs)
                except EndedError as error:
                    yield Outcome(task.id, "error", f"{str(error).rstrip('.')}.", 0)
                    break
                except Exception as error:  # of a value that no judge has thought of; the next task begins anew
                    yield Outcome(task.id, "error", _tripped(type(error).__name__), 0)
                    break
    yield Verdict((), None, outputs)


def _tripped(how: str) -> str:
    return f"what it returned can't be judged ({how}): return what the task asks for."


def _best(task: Task, answers: list[Remote], seed: int) -> Outcome:
    """The first right outcome, or the first at all."""
    outcomes = []
    for answer in answers:
        outcomes.append(judged(task, answer, seed))
        if outcomes[-1].status == "right":
            return outcomes[-1]
    return outcomes[0]


def _absent(task: Task, name: str, cells: list[tuple[int, str]], outputs: dict[int, list[dict[str, Any]]]) -> Outcome:
    """Why there is no function to judge: the cell that was to define it raised, or nobody wrote one."""
    for number, source in cells:
        raised = next((output for output in outputs.get(number, ()) if output.get("output_type") == "error"), None)
        if raised and re.search(rf"\b(?:def|class)\s+{name}\b", source):
            what = " ".join(f"{raised.get('ename')}: {raised.get('evalue')}".split())[:200]
            return Outcome(task.id, "error", f"the cell with {name} raised {what}; so there is no {name}.", 0)
    return Outcome(task.id, "not attempted", "there is no such function.", 0)


def judged(task: Task, answer: Any, seed: int) -> Outcome:
    """What `helpers.checks.check` finds, for an answer that lives in the sandbox."""
    draw = np.random.default_rng([seed, zlib.crc32(task.id.encode())])
    order = draw.permutation(len(task.cases(seed))).tolist()
    return checks.outcome(task, answer, seed=seed, order=order, described=_described)


def _described(error: Exception) -> str:
    """An exception in words: what the learner's code raised, or the probe's own, about a value it could not use."""
    if isinstance(error, UnfitError):
        return str(error)
    if not isinstance(error, LearnersError):
        return f"your code returned what can't be used ({type(error).__name__})"
    line = f" in line {error.line}" if error.line else ""
    return f"your code raised {type(error).__name__}{f' ({error})' if str(error) else ''}{line}"


def judge_apart(
    cells: list[tuple[int, str]],
    exercise: Exercise,
    seed: int,
    limits: Limits,
    rooms: Rooms,
    *,
    unsafe: bool = False,
) -> Verdict:
    """`judge` in a process of its own, with limits: whatever a value does to the judge, the class goes on."""
    patience = 2 * limits.wall_s + 120 * len(exercise.functions)
    end, left = time.monotonic() + patience, list(exercise.functions)
    outcomes: list[Outcome] = []
    outputs: dict[int, list[dict[str, Any]]] = {}
    while True:
        trying = None
        for told in _told_apart((left, cells, exercise, seed, limits, rooms), unsafe, end):
            if isinstance(told, Verdict):
                outputs = outputs or told.outputs
                return Verdict(() if told.failed else tuple(outcomes), told.failed, outputs)
            if isinstance(told, Outcome):
                outcomes.append(told)
                left, trying = left[1:], None
            else:
                trying = told
        if time.monotonic() >= end:
            return Verdict(failed=f"judging it took longer than {patience:g} s", outputs=outputs)
        if trying is None:
            return Verdict(failed="judging it ended early, before a task was tried", outputs=outputs)
        outcomes.append(Outcome(trying, "error", _tripped("too much memory or time"), 0))
        left = left[1:]


def _told_apart(args: tuple[Any, ...], unsafe: bool, end: float) -> Iterator[str | Outcome | Verdict]:
    """What `judging` says in a process of its own, until that ends or the time is over."""
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_report, args=(there, args, unsafe))
    process.start()
    there.close()
    try:
        while here.poll(max(0.0, end - time.monotonic())):
            kind, facts = json.loads(here.recv_bytes())
            if kind == "verdict":
                yield Verdict((), facts["failed"], {int(number): shown for number, shown in facts["outputs"].items()})
                return
            yield Outcome(**facts) if kind == "outcome" else str(facts)
    except EOFError:
        return
    finally:
        here.close()
        process.kill()
        process.join()


def _report(there: Any, args: tuple[Any, ...], unsafe: bool) -> None:
    """In the process apart: judge, and send what is found as JSON."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the grader's, who ends this process
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    most = pages * os.sysconf("SC_PAGE_SIZE") + JUDGE_MB * 1_000_000
    resource.setrlimit(resource.RLIMIT_AS, (most, resource.RLIM_INFINITY))
    try:
        for told in judging(*args, unsafe=unsafe):
            if isinstance(told, str):
                message: tuple[str, Any] = "task", told
            else:
                message = type(told).__name__.lower(), asdict(told)
            there.send_bytes(json.dumps(message).encode())
    except Exception as error:
        failed = Verdict(failed=f"judging it ended early ({type(error).__name__})")
        there.send_bytes(json.dumps(("verdict", asdict(failed))).encode())
