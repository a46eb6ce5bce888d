"""The marks as a file for a spreadsheet, and as the table that a run ends with."""

import csv
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path


@dataclass(frozen=True)
class Row:
    """What became of one submission. Points are empty for what failed: that is neither 0 nor the mark before."""

    student: str
    exercise: str
    status: str  # graded, failed, needs manual grading
    points: str
    max_points: str
    tasks: str
    reason: str


def write(rows: Sequence[Row], path: Path) -> None:
    """A CSV with every cell in quotes, none of which a spreadsheet takes for a formula."""
    with path.open("w", encoding="utf-8", errors="replace", newline="") as file:
        writer = csv.writer(file, quoting=csv.QUOTE_ALL)
        writer.writerow([field.name for field in fields(Row)])
        writer.writerows([harmless(cell) for cell in asdict(row).values()] for row in rows)


def harmless(cell: str) -> str:
    """The text, behind an apostrophe where a spreadsheet would compute it (OWASP, CSV injection)."""
    return f"'{cell}" if cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n")) else cell


def table(rows: Sequence[Row]) -> str:
    """Student, exercise, points and status, in columns."""
    cells = [("student", "exercise", "points", "status")]
    for row in rows:
        points = f"{row.points} of {row.max_points}" if row.points else "-"
        cells.append((row.student, row.exercise, points, f"{row.status}: {row.reason}" if row.reason else row.status))
    widths = [max(len(line[i]) for line in cells) for i in range(3)]
    return "\n".join("  ".join([*(c.ljust(w) for c, w in zip(line, widths, strict=False)), line[3]]) for line in cells)
