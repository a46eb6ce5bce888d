"""Models x data -> results, ranking, report: `run(settings(...))`, then `table`, `summary`, `save`, and `plots`."""

from helpers.benchmark.parameters import Settings, notebook_variables, settings
from helpers.benchmark.report import MEASURES, Report, Result, ranking, read, save, summary, table
from helpers.benchmark.running import measure, retrieve, run, score, speed_sample

__all__ = [
    "MEASURES",
    "Report",
    "Result",
    "Settings",
    "measure",
    "notebook_variables",
    "ranking",
    "read",
    "retrieve",
    "run",
    "save",
    "score",
    "settings",
    "speed_sample",
    "summary",
    "table",
]
