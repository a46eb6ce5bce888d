"""Before much is encoded: how long it will take; above an hour, a limit is asked for."""

import time
from collections.abc import Sequence

import numpy as np
from sentence_transformers import SentenceTransformer

from helpers.data import Dataset
from helpers.errors import CourseError

HOUR_S = 3600.0
SAMPLE, SAMPLE_S = 64, 10.0


def expected_s(model: SentenceTransformer, texts: Sequence[str], batch_size: int) -> float:
    """Seconds that a model will take for these texts, from up to 64 of them, drawn, or as many as ten seconds allow.

    Args:
        model: is warmed up on four texts first.
        texts: all that are to be encoded.
        batch_size: of encoding.
    """
    drawn = [texts[i] for i in np.random.default_rng(0).permutation(len(texts))[:SAMPLE]]
    model.encode(drawn[:4], batch_size=batch_size, show_progress_bar=False)
    start, done = time.perf_counter(), 0
    while done < len(drawn) and time.perf_counter() - start < SAMPLE_S:
        part = drawn[done : 4 * done or 8]  # 8, 32, 64
        model.encode(part, batch_size=batch_size, show_progress_bar=False)
        done += len(part)
    return (time.perf_counter() - start) * len(texts) / done


def refuse_hours(seconds: float, dataset: Dataset) -> None:
    """CourseError where encoding takes more than an hour; names a limit that takes about half of one."""
    if seconds <= HOUR_S:
        return
    whole = max(len(dataset.pairs or ()), len(dataset.retrieval.corpus) if dataset.retrieval else 0)
    raise CourseError(
        f"Encoding {len(dataset.texts):,} texts would take about {seconds / HOUR_S:.1f} hours here; set "
        f"limit={max(2, int(whole * HOUR_S / 2 / seconds))} for half an hour: a seeded draw that keeps judged "
        f"documents (a smaller corpus is easier). With limit={whole} all are taken."
    )
