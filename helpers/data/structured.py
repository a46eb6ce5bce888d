"""A test set without labels: texts that begin with a title, or a first sentence, that asks for the rest.

`pairs-from:FOLDER` (or a file) makes such pairs of anybody's texts. What they rank, and how far that agrees with
labels, is lesson 18's.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from helpers.data.dataset import Dataset, Retrieval
from helpers.data.layouts import read_path
from helpers.data.mined import FEWEST_QUERY_WORDS, FEWEST_WORDS, MOST_QUERY_WORDS, MOST_WORDS, distinct
from helpers.data.names import Reading
from helpers.errors import CourseError

FEWEST = 30


def read_pairs_from(source: str, reading: Reading) -> Dataset:
    """Pairs made of the texts of a file or a folder, whatever else stands there.

    Raises:
        CourseError: there is no such path, or too few texts give a pair.
    """
    found = read_path(Path(source).expanduser(), reading)
    made, dropped = pairs_from(
        found.alone or tuple(found.retrieval.corpus.values() if found.retrieval else found.texts)
    )
    name = f"pairs-from:{Path(source).expanduser().name}"
    left_out = ", ".join(f"{count:,} {why}" for why, count in dropped.items() if count)
    reading.notes[:] = [note for note in reading.notes if "without labels" not in note]  # they have some now
    reading.note(
        f"{name}: {len(made.queries):,} pairs, a title or first sentence that asks for the rest of its text"
        + (f"; left out: {left_out}." if left_out else ".")
    )
    if len(made.queries) < FEWEST:
        raise CourseError(
            f"{name}: only {len(made.queries)} texts give a pair ({left_out or 'there are no more'}); {FEWEST} are the "
            f"least. A text needs a title or first sentence of {FEWEST_QUERY_WORDS} to {MOST_QUERY_WORDS} words and "
            f"{FEWEST_WORDS} words behind it."
        )
    return Dataset(name, retrieval=made)


def pairs_from(texts: Sequence[str]) -> tuple[Retrieval, dict[str, int]]:
    """A retrieval set of texts, their titles as queries, and how many were left out, by reason."""
    cut = [split_off(text) for text in texts]
    kept, seen = [], set()
    dropped = {"without a title or too short": cut.count(None), "with a title used before": 0, "near-duplicates": 0}
    for number, made in enumerate(cut):
        if made is None:
            continue
        title = made[0].casefold()
        dropped["with a title used before"] += title in seen
        if title not in seen:
            kept.append((f"t{number}", *made))
        seen.add(title)
    stays = distinct([document for *_, document in kept]) if kept else []
    dropped["near-duplicates"] = stays.count(False)
    kept = [row for row, stay in zip(kept, stays, strict=True) if stay]
    return Retrieval(
        {name: document for name, _, document in kept},
        {f"{name}?": title for name, title, _ in kept},
        {f"{name}?": {name: 1} for name, *_ in kept},
    ), dropped


def split_off(text: str) -> tuple[str, str] | None:
    """A text's first line, or first sentence, and the rest; None where one of them says too little."""
    for pattern in (r"\s*\n\s*", r"(?<=[.?!:])\s+"):
        first, *others = re.split(pattern, text.strip(), maxsplit=1)
        title, rest = first.split(), " ".join(others).split()
        if FEWEST_QUERY_WORDS <= len(title) <= MOST_QUERY_WORDS and len(rest) >= FEWEST_WORDS:
            return " ".join(title), " ".join(rest[:MOST_WORDS])
    return None
