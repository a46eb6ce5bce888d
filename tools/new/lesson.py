"""A lesson's beginning: a source that goes from objectives to recap, and its entry in course.toml."""

import re
from pathlib import Path

from helpers.errors import CourseError
from tools.build import manifest

TEMPLATES = Path(__file__).parent / "templates"
NAME = re.compile(r"(?P<number>\d\d)_[a-z0-9_]+")
LEFT = """\
lessons/{name}.py and its entry in course.toml are a beginning that passes, and notebooks/{name}.ipynb is built of them.
1. Write the lesson, and what it declares: title, minutes, memory_mb, download_mb, cpu_s.
2. Build it: .venv/bin/python -m tools.build {name} 00_start_here (00 lists all lessons).
3. Add it to the list of lessons in README.md, and give it an exercise: make new-task NAME={number}.1"""


def add(name: str, root: Path) -> tuple[str, str]:
    """Write a lesson's source and its entry; its name, and what is left to do.

    Args:
        name: number and subject, `20_something`.
        root: the repository.

    Raises:
        CourseError: the name isn't of that form, or a lesson has that number already.
    """
    found = NAME.fullmatch(name)
    if not found:
        raise CourseError(f"{name!r} is no name for a lesson: two digits, _, a subject in small letters: 20_something.")
    lessons = manifest(root)
    if taken := [lesson["name"] for lesson in lessons if lesson["name"][:2] == found["number"]]:
        raise CourseError(f"Lesson {found['number']} is {taken[0]}; the next free number is {_free(root):02d}.")
    title = name[3:].replace("_", " ").capitalize()
    source = filled("lesson.txt", {"NUMBER": found["number"], "TITLE": title})
    (root / "lessons" / f"{name}.py").write_text(source, encoding="utf-8")
    entry = (
        f'[[lesson]]\nname = "{name}"\ntitle = "{title}"\nminutes = 30\nmemory_mb = 1500\ndownload_mb = 0\ncpu_s = 40\n'
    )
    later = [lesson["name"] for lesson in lessons if lesson["name"] > name]
    course = root / "course.toml"
    old = course.read_text(encoding="utf-8")
    at = old.index(f'[[lesson]]\nname = "{later[0]}"') if later else len(old)
    new = f"{old[:at]}{entry}\n{old[at:]}" if later else f"{old.rstrip()}\n\n{entry}"
    course.write_text(new, encoding="utf-8")
    return name, LEFT.format(name=name, number=found["number"])


def filled(template: str, words: dict[str, str]) -> str:
    """A template with each `@WORD@` replaced."""
    return fill((TEMPLATES / template).read_text(encoding="utf-8"), words)


def fill(text: str, words: dict[str, str]) -> str:
    """A text with each `@WORD@` replaced."""
    for word, value in words.items():
        text = text.replace(f"@{word}@", value)
    return text


def _free(root: Path) -> int:
    return 1 + max(int(lesson["name"][:2]) for lesson in manifest(root))
