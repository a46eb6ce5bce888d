"""Write what docs/instructors.md says by the manifest: schedules, weights, links that open lessons online.

Run it as `make build`, or `python -m tools.instructors`. Each part stands between two comments in the page; a
test fails where the page and course.toml disagree.
"""

import tomllib
from typing import Any

from helpers.catalog import Card, card
from helpers.packages import PACKAGED
from tools.build import ROOT

PAGE = ROOT / "docs" / "instructors.md"
BEGIN, LUNCH = 9 * 60, 12 * 60  # minutes after midnight
BREAK_AFTER, BREAK, LUNCH_BREAK, CLOSING = 85, 15, 60, 15  # minutes
DAY = 375  # minutes of lessons and exercises that a day holds


def blocks(lessons: list[dict[str, Any]]) -> list[tuple[str, int]]:
    """(what, minutes): each lesson, then its exercise."""
    found = []
    for lesson in lessons:
        number = lesson["name"][:2]
        found.append((f"{number} {lesson['title']}", lesson["minutes"]))
        if "exercise" in lesson:
            found.append((f"exercise {number}: {lesson['exercise']['title']}", lesson["exercise"]["minutes"]))
    return found


def importance(lesson: dict[str, Any]) -> int:
    """Of a lesson's exercise, of five; 0 where there is none."""
    return int(lesson.get("exercise", {}).get("importance", 0))


def chosen(lessons: list[dict[str, Any]], numbers: list[str]) -> list[dict[str, Any]]:
    """The lessons of a path as a day holds them: where it is too long, the exercises that matter least are left out."""
    path = [lesson for lesson in lessons if lesson["name"][:2] in numbers]
    while sum(minutes for _, minutes in blocks(path)) > DAY:
        least = min((lesson for lesson in path if "exercise" in lesson), key=importance)
        path = [{k: v for k, v in each.items() if k != "exercise"} if each is least else each for each in path]
    return path


def one_day(lessons: list[dict[str, Any]]) -> list[tuple[int, str]]:
    """(minute of the day, what begins then): the lessons, breaks and lunch."""
    now, worked, eaten = BEGIN, 0, False
    plan = []
    for what, minutes in blocks(lessons):
        if not eaten and (now >= LUNCH - BREAK or now + minutes > LUNCH + LUNCH_BREAK):
            plan.append((now, "lunch"))
            now, worked, eaten = now + LUNCH_BREAK, 0, True
        elif worked >= BREAK_AFTER:
            plan.append((now, "break"))
            now, worked = now + BREAK, 0
        plan.append((now, what))
        now, worked = now + minutes, worked + minutes
    return [*plan, (now, "questions, and where to go on"), (now + CLOSING, "end")]


def days(lessons: list[dict[str, Any]]) -> list[tuple[list[str], int]]:
    """(numbers of the lessons, minutes) of each day of the whole course, in order."""
    plan: list[tuple[list[str], int]] = []
    for lesson in lessons:
        minutes = sum(length for _, length in blocks([lesson]))
        if plan and plan[-1][1] + minutes <= DAY:
            plan[-1] = [*plan[-1][0], lesson["name"][:2]], plan[-1][1] + minutes
        else:
            plan.append(([lesson["name"][:2]], minutes))
    return plan


def table(head: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *rows])


def parts(course: dict[str, Any]) -> dict[str, str]:
    """The page's parts by their names."""
    lessons, repository = course["lesson"], course["repository"]
    total = sum(minutes for _, minutes in blocks(lessons))
    packaged = {packaged.original: packaged for packaged in PACKAGED.values()}

    def plan_of(path: dict[str, Any]) -> str:
        kept = chosen(lessons, path["lessons"])
        short = [e["name"][:2] for e in lessons if e["name"][:2] in path["lessons"] and e not in kept]
        left = f" Exercises left for afterwards: {', '.join(short)}." if short else ""
        rows = [[f"{at // 60}:{at % 60:02d}", what] for at, what in one_day(kept)]
        return f"**{path['title']}**: {', '.join(path['lessons'])}.{left}\n\n{table(['from', 'what'], rows)}"

    def of(model: Card) -> str:
        found = packaged.get(model.hub_id)
        return f"`{found.name}`, {found.download_mb:.0f} MB" if found else ""

    weights = [
        [
            name[:2],
            f"`{model.hub_id}`",
            f"{model.memory_mb_mteb or 0:.0f}",
            "yes" if model.license == "gemma" else "",
            of(model),
        ]
        for name, models in course["weights"].items()
        for model in map(card, models)
    ]
    size = sum(card(m).memory_mb_mteb or 0 for m in {m for models in course["weights"].values() for m in models})
    online = (
        "The course's public address isn't known here: set `repository` in `course.toml` to OWNER/NAME, run\n"
        "`make build`, and the links stand here."
    )
    if repository:
        badge, colab = "https://mybinder.org/badge_logo.svg", "https://colab.research.google.com/assets/colab-badge.svg"
        binder = f"https://mybinder.org/v2/gh/{repository}/HEAD?urlpath=lab/tree"
        online = table(
            ["lesson", "Binder", "Colab"],
            [
                [
                    f"{lesson['name'][:2]} {lesson['title']}",
                    f"[![Binder]({badge})]({binder}/notebooks/{lesson['name']}.ipynb)",
                    f"[![Colab]({colab})](https://colab.research.google.com/github/{repository}/blob/HEAD/notebooks/{lesson['name']}.ipynb)",
                ]
                for lesson in lessons
            ],
        )
        online += f"\n\nA devcontainer: https://codespaces.new/{repository}"
    return {
        "one day": "\n\n".join(map(plan_of, course["paths"].values())),
        "whole course": f"All {len(lessons)} lessons with their exercises take {total / 60:.0f} hours:\n\n"
        + table(
            ["day", "lessons", "hours"],
            [[str(day), ", ".join(n), f"{m / 60:.1f}"] for day, (n, m) in enumerate(days(lessons), start=1)],
        ),
        "weights": table(["lesson", "model", "about MB", "terms to accept", "as a package"], weights)
        + f"\n\nAll of them together: {size / 1000:.1f} GB.",
        "online": online,
    }


def written(page: str, course: dict[str, Any]) -> str:
    """The page with its parts as course.toml has them."""
    for name, text in parts(course).items():
        begin, end = f"<!-- {name}: written by tools/instructors.py -->\n", "<!-- end -->"
        before, begun, rest = page.partition(begin)
        _, ended, after = rest.partition(end)
        if not (begun and ended):
            raise ValueError(f"{PAGE.name} has no part {name!r}: it begins with {begin.strip()} and ends with {end}.")
        page = f"{before}{begin}{text}\n{end}{after}"
    return page


if __name__ == "__main__":
    manifest = tomllib.loads((ROOT / "course.toml").read_text(encoding="utf-8"))
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8"), manifest), encoding="utf-8")
