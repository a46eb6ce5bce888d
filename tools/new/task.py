"""A task's beginning: its block, its texts, its section in the exercise, an answer, and its place in course.toml.

It asks for the mean of each row, so that every test has something to hold; replace it piece by piece. The first task
of a lesson brings the exercise with it.
"""

import ast
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from helpers.errors import CourseError
from tools.build import manifest
from tools.new.lesson import fill, filled

LEFT = """\
Task {id} is a beginning that passes: the mean of each row. Make it yours in
  lessons/exercises/{lesson}.py: text, stub, reference solution;
  helpers/exercises/lesson_{number}.py: reference, cases, form of the answer, a sentence for each usual mistake;
  helpers/exercises/tasks.toml: title, points, hints;
  tests/answers/lesson_{number}.py: other right answers; mistakes only where the block can't declare them.
Then build and test it:
  .venv/bin/python -m tools.build {lesson}
  .venv/bin/python -m pytest tests -k '{id} or {lesson}'"""
EXERCISE = (
    'exercise = { title = "Means", minutes = 30, difficulty = 2, importance = 3, tasks = ["@ID@"] }  # what it trains\n'
)


def add(task_id: str, root: Path) -> tuple[str, str]:
    """Write a task's parts; the name of its lesson, and what is left to do.

    Args:
        task_id: lesson and number, `03.5`: the lesson's next.
        root: the repository.

    Raises:
        CourseError: there is no such lesson, the number isn't its next, or a file has no place for a task.
    """
    number, _, place = task_id.partition(".")
    lesson = next((entry for entry in manifest(root) if entry["name"][:2] == number), None)
    if lesson is None:
        raise CourseError(f"There is no lesson {number!r}; make new-lesson NAME={number}_something begins one.")
    due = f"{number}.{1 + len(lesson.get('exercise', {}).get('tasks', []))}"
    if task_id != due:
        raise CourseError(f"{task_id!r} isn't the next task of lesson {number}: that is {due}.")
    words = {"ID": task_id, "NUMBER": number, "PLACE": place, "LESSON": lesson["name"]}
    written = _parts(root, lesson, words)
    for path, text in written.items():
        path.write_text(text, encoding="utf-8")
    code = [str(path) for path in written if path.suffix == ".py"]
    for command in (["check", "--select", "I", "--fix"], ["format"]):  # the imports in their order
        subprocess.run([sys.executable, "-m", "ruff", *command, "--quiet", *code], cwd=root, check=True)
    return lesson["name"], LEFT.format(id=task_id, lesson=lesson["name"], number=number)


def _parts(root: Path, lesson: dict[str, Any], words: dict[str, str]) -> dict[Path, str]:
    """Each file that holds a part of a task, to its text with the new task; nothing is written yet."""
    number, name, first = words["NUMBER"], words["LESSON"], "exercise" not in lesson
    exercise = root / "lessons" / "exercises" / f"{name}.py"
    module = root / "helpers" / "exercises" / f"lesson_{number}.py"
    answers = root / "tests" / "answers" / f"lesson_{number}.py"
    texts, course = root / "helpers" / "exercises" / "tasks.toml", root / "course.toml"
    begun = {
        path: filled(f"{template}.txt", words) if first else path.read_text(encoding="utf-8")
        for path, template in ((exercise, "exercise"), (module, "module"), (answers, "answers"))
    }
    # ruff joins the lines of a short dict
    one = r"^TASKS = \{task\.id: task for task in \((.+?),?\)\}$"
    spread = r"TASKS = {\n    task.id: task\n    for task in (\n        \1,\n    )\n}"
    begun[module] = re.sub(one, spread, begun[module], flags=re.MULTILINE)
    folded = r"^# %% \[markdown\]\n(?:#(?! %%).*\n)*?# <details><summary>Solution"
    begun[exercise] = _put(begun[exercise], exercise, folded, filled("section.txt", words))
    begun[module] = _put(begun[module], module, r"^TASKS = \{\n", filled("block.txt", words))
    entry = "        Task(@ID@, _means_@PLACE@_cases, MEANS_@PLACE@),\n"
    begun[module] = _put(begun[module], module, r"^    \)\n\}\n?\Z", fill(entry, words | {"ID": f'"{words["ID"]}"'}))
    begun[module] = _imported(begun[module], filled("imports.txt", words))
    right = '    "@ID@": [means_@PLACE@, lambda rows: tuple(sum(row) / len(row) for row in rows)],\n'
    begun[answers] = _put(begun[answers], answers, r"(?<=\n)\}(?=\n|\Z)", fill(right, words), after=r"^RIGHT\b.*\{$")
    begun[answers] = _imported(
        begun[answers], fill("from helpers.exercises.lesson_@NUMBER@ import means_@PLACE@\n", words)
    )
    begun[texts] = _in_texts(texts.read_text(encoding="utf-8"), words)
    begun[course] = _in_course(course.read_text(encoding="utf-8"), course, words, first=first)
    return begun


def _put(text: str, path: Path, before: str, addition: str, after: str = r"\A") -> str:
    """A text with an addition before the first match of a pattern that lies behind another pattern's."""
    start = re.search(after, text, re.MULTILINE)
    found = start and re.compile(before, re.MULTILINE).search(text, start.end())
    if not found:
        raise CourseError(f"{path.name} has no place for a task: nothing there looks like {before!r}.")
    return text[: found.start()] + addition + text[found.start() :]


def _imported(text: str, imports: str) -> str:
    """A module with those imports put before its first that bring a new name; ruff sorts and joins them."""
    bound = set(re.findall(r"^(\w+)(?:: .+)? = ", text, re.MULTILINE))
    for node in ast.parse(text).body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            bound |= {alias.asname or alias.name for alias in node.names}
    lines = [line for line in imports.splitlines() if line.rpartition(" ")[2] not in bound]
    first = re.search(r"^(?:import|from) ", text, re.MULTILINE)
    at = first.start() if first else len(text)
    return text[:at] + "".join(f"{line}\n" for line in lines) + text[at:]


def _in_texts(text: str, words: dict[str, str]) -> str:
    """tasks.toml with the task's section, in the order of the ids."""

    def key(task_id: str) -> list[int]:
        return [int(part) for part in task_id.split(".")]

    later = [m for m in re.finditer(r'^\["([\d.]+)"\]$', text, re.MULTILINE) if key(m[1]) > key(words["ID"])]
    section = filled("texts.txt", words)
    return (
        f"{text[: later[0].start()]}{section}\n{text[later[0].start() :]}" if later else f"{text.rstrip()}\n\n{section}"
    )


def _in_course(text: str, path: Path, words: dict[str, str], *, first: bool) -> str:
    """course.toml with the task in its lesson's entry; the first brings the exercise."""
    entry = rf'^name = "{words["LESSON"]}"$'
    if first:
        return _put(text.rstrip() + "\n", path, r"(?=\n\[|\Z)", fill(EXERCISE, words), after=entry)
    return _put(
        text, path, r"\](?= \})", f', "{words["ID"]}"', after=rf"{entry}(?:\n(?!\[).*)*?\nexercise = .*?tasks = \["
    )
