"""A table at the end of pytest's report: what became of each submission of the zoo (tests/grading/zoo.py)."""

from typing import Any


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """A row for each submission: what it earned, of what it deserves, and what the grader said."""
    reports = [
        report for some in terminalreporter.stats.values() for report in some if hasattr(report, "user_properties")
    ]
    rows = sorted({value for report in reports for name, value in report.user_properties if name == "zoo"})
    if rows:
        terminalreporter.section(f"The zoo: {len(rows)} submissions, graded")
        for row in rows:
            terminalreporter.line(row)
