"""Models x data -> results, ranking, report: `run(settings(...))`, then `verdict`, `table`, `save`, and `plots`."""

from helpers.benchmark.parameters import Settings, notebook_variables, settings
from helpers.benchmark.report import (
    MEASURES,
    Data,
    Report,
    Result,
    Scored,
    agreement,
    compare,
    compared,
    ranking,
    read,
    save,
    scores,
    table,
)
from helpers.benchmark.running import evaluate, measure, ndcg, retrieve, run, score, speed_texts
from helpers.benchmark.words import advice, description, limits, method, summary, verdict

__all__ = [
    "MEASURES",
    "Data",
    "Report",
    "Result",
    "Scored",
    "Settings",
    "advice",
    "agreement",
    "compare",
    "compared",
    "description",
    "evaluate",
    "limits",
    "measure",
    "method",
    "ndcg",
    "notebook_variables",
    "ranking",
    "read",
    "retrieve",
    "run",
    "save",
    "score",
    "scores",
    "settings",
    "speed_texts",
    "summary",
    "table",
    "verdict",
]
