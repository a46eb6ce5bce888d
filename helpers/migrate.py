"""Changing the model under a live index: texts and the vectors of two models side by side, in one SQLite file.

Each model has a *space* with a fingerprint, its vectors of a few sentences: a query is answered by a model only in the
space that it made, whatever the number of dimensions. What is written is written in transactions, so the process can be
killed at any moment and called again. Search is exact; lesson 17 has indexes for more than some ten thousand vectors.
"""

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from helpers.errors import CourseError

Floats = NDArray[np.float32]
Encode = Callable[[list[str]], Any]  # texts to (n, d) unit vectors
CANARIES = (
    "Where did the train to the coast stop?",
    "At noon the ferry left with 214 passengers and one dog.",
    "Crème brûlée, in ALL CAPITALS: CRÈME BRÛLÉE",
    "word " * 600,
)
TOLERANCE = 1e-3  # of the largest number, as in `stream`: other processors round by less, int8 and bfloat16 by more
TABLES = """
CREATE TABLE IF NOT EXISTS texts (id TEXT PRIMARY KEY, text TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS spaces (name TEXT PRIMARY KEY, dims INTEGER NOT NULL, fingerprint BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS vectors (space TEXT, id TEXT, vector BLOB NOT NULL, PRIMARY KEY (space, id)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS live (one INTEGER PRIMARY KEY CHECK (one = 1), space TEXT NOT NULL, previous TEXT);
"""


class Index:
    """Texts, and their vectors by space; one space is live.

    Args:
        path: the SQLite file; made if it isn't there.
        watch: called with the name of each point before and after something is written; tests end the process there.
    """

    def __init__(self, path: str | Path, watch: Callable[[str], None] = lambda point: None) -> None:
        try:
            self._db = sqlite3.connect(path)
            self._db.executescript(TABLES)
        except sqlite3.Error as error:
            raise CourseError(f"{path} can't be opened as an index ({error}); name another file.") from error
        self._watch = watch
        self._known: set[tuple[str, Encode]] = set()

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    @property
    def live(self) -> str | None:
        """The space that answers; None before the first switch."""
        found = self._db.execute("SELECT space FROM live").fetchone()
        return str(found[0]) if found else None

    def add(self, texts: Mapping[str, str], encoders: Mapping[str, Encode] | None = None) -> None:
        """Add or replace texts, with their vectors in the spaces of `encoders`; other spaces catch up by `backfill`.

        While two spaces are there, both encoders are given (*dual write*), so that neither falls behind.
        """
        rows = list(texts.items())
        made = {space: self._vectors(space, encode, [t for _, t in rows]) for space, encode in (encoders or {}).items()}
        with self._written("add"):
            for name, text in rows:
                was = self._db.execute("SELECT text FROM texts WHERE id = ?", (name,)).fetchone()
                if was and was[0] != text:
                    self._db.execute("DELETE FROM vectors WHERE id = ?", (name,))
                self._db.execute("INSERT OR REPLACE INTO texts VALUES (?, ?)", (name, text))
            for space, vectors in made.items():
                self._put(space, [name for name, _ in rows], vectors)

    def begin(self, space: str, encode: Encode) -> None:
        """Open a space for a model, or hold the model against the one that opened it.

        Raises:
            CourseError: another model opened it.
        """
        if self._db.execute("SELECT 1 FROM spaces WHERE name = ?", (space,)).fetchone():
            self._check(space, encode)
            return
        fingerprint = np.asarray(encode(list(CANARIES)), dtype=np.float32)
        with self._written("begin"):
            row = (space, fingerprint.shape[1], fingerprint.tobytes())
            self._db.execute("INSERT INTO spaces VALUES (?, ?, ?)", row)

    def missing(self, space: str) -> list[str]:
        """Ids of texts that have no vector in a space, in order."""
        query = "SELECT id FROM texts WHERE id NOT IN (SELECT id FROM vectors WHERE space = ?) ORDER BY id"
        return [str(row[0]) for row in self._db.execute(query, (space,))]

    def backfill(self, space: str, encode: Encode, batch: int = 64, say: Callable[[str], None] = print) -> int:
        """Encode what a space lacks, a batch a transaction; called again, it goes on. How many texts that were."""
        self.begin(space, encode)
        names = self.missing(space)
        for first in range(0, len(names), batch):
            part = names[first : first + batch]
            marks = ",".join("?" * len(part))
            texts = dict(self._db.execute(f"SELECT id, text FROM texts WHERE id IN ({marks})", part).fetchall())
            vectors = self._vectors(space, encode, [texts[name] for name in part])
            with self._written("backfill"):
                self._put(space, part, vectors)
            if first // batch % 20 == 0:
                say(f"{space}: {first + len(part)} of {len(names)}")
        return len(names)

    def switch(self, space: str) -> None:
        """Let a space answer, if it has every text; the one before stays, for `rollback`.

        Raises:
            CourseError: it lacks texts, or there is no such space.
        """
        if not self._db.execute("SELECT 1 FROM spaces WHERE name = ?", (space,)).fetchone():
            raise CourseError(f"There is no space {space!r}; begin one first.")
        if lacking := len(self.missing(space)):
            raise CourseError(f"{space!r} lacks {lacking} texts, so it can't answer yet; backfill it first.")
        with self._written("switch"):
            self._db.execute("INSERT OR REPLACE INTO live VALUES (1, ?, ?)", (space, self.live))

    def rollback(self) -> str:
        """Let the space before answer again; its name.

        Raises:
            CourseError: there is none, or it has fallen behind.
        """
        found = self._db.execute("SELECT previous FROM live").fetchone()
        if not found or not found[0]:
            raise CourseError("There is no space to go back to.")
        self.switch(str(found[0]))
        return str(found[0])

    def drop(self, space: str) -> None:
        """Delete a space that doesn't answer.

        Raises:
            CourseError: it is the live one.
        """
        if space == self.live:
            raise CourseError(f"{space!r} is live; switch to another space before you drop it.")
        with self._written("drop"):
            self._db.execute("DELETE FROM vectors WHERE space = ?", (space,))
            self._db.execute("DELETE FROM spaces WHERE name = ?", (space,))
            self._db.execute("UPDATE live SET previous = NULL WHERE previous = ?", (space,))

    def search(self, query: str, encode: Encode, k: int = 10, space: str | None = None) -> list[tuple[str, float]]:
        """The k nearest texts: (id, dot product), best first; of the live space, or of one that is named.

        Raises:
            CourseError: no space is live, or this model didn't make it.
        """
        chosen = space or self.live
        if chosen is None:
            raise CourseError("No space is live yet; backfill one and switch to it.")
        self._check(chosen, encode)
        names, vectors = self.vectors(chosen)
        scores = vectors @ np.asarray(encode([query]), dtype=np.float32)[0]
        return [(names[i], float(scores[i])) for i in np.argsort(-scores, kind="stable")[:k]]

    def vectors(self, space: str) -> tuple[list[str], Floats]:
        """The ids of a space and its (n, d) vectors, in order of id."""
        [(dims,)] = self._db.execute("SELECT dims FROM spaces WHERE name = ?", (space,)).fetchall() or [(0,)]
        rows = self._db.execute("SELECT id, vector FROM vectors WHERE space = ? ORDER BY id", (space,)).fetchall()
        flat = np.frombuffer(b"".join(row[1] for row in rows), dtype=np.float32)
        return [str(row[0]) for row in rows], flat.reshape(len(rows), dims)

    def overlap(self, queries: Sequence[str], spaces: Mapping[str, Encode], k: int = 10) -> Floats:
        """(q,) the share of the k nearest that two spaces have in common, the *shadow* of one behind the other."""
        found = [[{n for n, _ in self.search(q, e, k, s)} for q in queries] for s, e in spaces.items()]
        return np.array([len(a & b) / k for a, b in zip(*found, strict=True)], dtype=np.float32)

    def _check(self, space: str, encode: Encode) -> None:
        """Refuse a model that didn't make a space, by the vectors at rest, never by its own."""
        if (space, encode) in self._known:
            return
        found = self._db.execute("SELECT dims, fingerprint FROM spaces WHERE name = ?", (space,)).fetchone()
        if not found:
            raise CourseError(f"There is no space {space!r}; begin one first.")
        kept = np.frombuffer(found[1], dtype=np.float32).reshape(-1, found[0])
        now = np.asarray(encode(list(CANARIES)), dtype=np.float32)
        if now.shape != kept.shape:
            raise CourseError(
                f"{space!r} has {kept.shape[1]} dimensions, and this model {now.shape[1]}: another model."
            )
        off = float(np.abs(now - kept).max() / np.abs(kept).max())
        if off > TOLERANCE:
            raise CourseError(
                f"Another model made {space!r}: it has as many dimensions, but the vectors of test sentences differ by "
                f"{off:.1%} of the largest number. Begin a space of its own for this one."
            )
        self._known.add((space, encode))

    def _vectors(self, space: str, encode: Encode, texts: list[str]) -> Floats:
        self._check(space, encode)
        return np.ascontiguousarray(np.asarray(encode(texts), dtype=np.float32))

    def _put(self, space: str, names: Sequence[str], vectors: Floats) -> None:
        rows = [(space, name, vector.tobytes()) for name, vector in zip(names, vectors, strict=True)]
        self._db.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?, ?)", rows)
        self._watch("written, not committed")

    def _written(self, what: str) -> "_Transaction":
        return _Transaction(self._db, self._watch, what)


class _Transaction:
    """All or nothing, with the points at which a process can be ended."""

    def __init__(self, db: sqlite3.Connection, watch: Callable[[str], None], what: str) -> None:
        self.db, self.watch, self.what = db, watch, what

    def __enter__(self) -> None:
        self.watch(f"before {self.what}")

    def __exit__(self, kind: Any, *_: Any) -> None:
        if kind is None:
            self.watch(f"before the commit of {self.what}")
            self.db.commit()
            self.watch(f"after the commit of {self.what}")
        else:
            self.db.rollback()
