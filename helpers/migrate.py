"""Changing the model under a live index: texts and the vectors of two models side by side, in one SQLite file.

Each model has a *space* with a fingerprint, its vectors of a few sentences as queries and as documents: a query is
answered by a model only in the space that it made, whatever the number of dimensions. What is written is written in
transactions that take the lock before they look, so a process can be killed at any moment and called again, and several
may write at once. Search is exact; lesson 17 has indexes for more than some ten thousand vectors.
"""

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from helpers.errors import CourseError

Floats = NDArray[np.float32]
CANARIES = (
    "Where did the train to the coast stop?",
    "At noon the ferry left with 214 passengers and one dog.",
    "Crème brûlée, in ALL CAPITALS: CRÈME BRÛLÉE",
    "word " * 600,
)
TOLERANCE = 1e-3  # of the largest number, as in `stream`: other processors round by less, int8 and bfloat16 by more
RECHECK = 1000  # calls after which a model is held against the fingerprint again, since it may change behind its name
TABLES = """
CREATE TABLE IF NOT EXISTS texts (id TEXT PRIMARY KEY, text TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS spaces (name TEXT PRIMARY KEY, dims INTEGER NOT NULL, fingerprint BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS vectors (space TEXT, id TEXT, vector BLOB NOT NULL, PRIMARY KEY (space, id)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS live (one INTEGER PRIMARY KEY CHECK (one = 1), space TEXT NOT NULL, previous TEXT);
"""


class Model(Protocol):
    """What makes vectors: a `SentenceTransformer`, or whatever has these two methods."""

    def encode_query(self, texts: list[str], /) -> Any:
        """(n, d) unit vectors of queries."""

    def encode_document(self, texts: list[str], /) -> Any:
        """(n, d) unit vectors of documents."""


class Index:
    """Texts, and their vectors by space; one space is live.

    Args:
        path: the SQLite file; made if it isn't there.
        watch: called with the name of each point before and after something is written; tests end the process there.
    """

    def __init__(self, path: str | Path, watch: Callable[[str], None] = lambda point: None) -> None:
        try:
            self._db = sqlite3.connect(path, timeout=60)
            self._db.executescript(TABLES)
        except sqlite3.Error as error:
            raise CourseError(f"{path} can't be opened as an index ({error}); name another file.") from error
        self._watch = watch
        self._known: dict[tuple[str, Model], tuple[bytes, int]] = {}  # to the fingerprint that it had, calls left

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    @property
    def live(self) -> str | None:
        """The space that answers; None before the first switch."""
        found = self._db.execute("SELECT space FROM live").fetchone()
        return str(found[0]) if found else None

    def add(self, texts: Mapping[str, str], models: Mapping[str, Model] | None = None) -> None:
        """Add or replace texts, with their vectors in the spaces of `models`; other spaces catch up by `backfill`.

        While two spaces are there, both models are given (*dual write*), so that neither falls behind.
        """
        made = {space: self._vectors(space, model, list(texts.values())) for space, model in (models or {}).items()}
        with self._written("add"):
            for name, text in texts.items():
                self._db.execute(
                    "DELETE FROM vectors WHERE id IN (SELECT id FROM texts WHERE id = ? AND text != ?)", (name, text)
                )
                self._db.execute("INSERT OR REPLACE INTO texts VALUES (?, ?)", (name, text))
            for space, (fingerprint, vectors) in made.items():
                self._put(space, fingerprint, texts, vectors)

    def begin(self, space: str, model: Model) -> None:
        """Open a space for a model, or hold the model against the one that opened it.

        Raises:
            CourseError: another model opened it.
        """
        if not self._db.execute("SELECT 1 FROM spaces WHERE name = ?", (space,)).fetchone():
            made = _fingerprint(model)
            with self._written("begin"):
                row = (space, made.shape[1], made.tobytes())
                self._db.execute("INSERT OR IGNORE INTO spaces VALUES (?, ?, ?)", row)  # another may have been quicker
        self._check(space, model)

    def missing(self, space: str) -> list[str]:
        """Ids of texts that have no vector in a space, in order."""
        query = "SELECT id FROM texts WHERE id NOT IN (SELECT id FROM vectors WHERE space = ?) ORDER BY id"
        return [str(row[0]) for row in self._db.execute(query, (space,))]

    def backfill(self, space: str, model: Model, batch: int = 64, say: Callable[[str], None] = print) -> int:
        """Encode what a space lacks, a batch a transaction; called again, it goes on. How many texts that were.

        A text that another process changes meanwhile keeps no vector of its old wording: its turn comes again.
        """
        self.begin(space, model)
        done = 0
        while names := self.missing(space):
            for first in range(0, len(names), batch):
                part = names[first : first + batch]
                marks = ",".join("?" * len(part))
                texts = dict(self._db.execute(f"SELECT id, text FROM texts WHERE id IN ({marks})", part).fetchall())
                fingerprint, vectors = self._vectors(space, model, list(texts.values()))
                with self._written("backfill"):
                    done += self._put(space, fingerprint, texts, vectors)
                if first // batch % 20 == 0:
                    say(f"{space}: {first + len(part)} of {len(names)}")
        return done

    def switch(self, space: str) -> None:
        """Let a space answer, if it has every text; the one before stays, for `rollback`.

        Raises:
            CourseError: it lacks texts, or there is no such space.
        """
        with self._written("switch"):
            self._kept(space)
            if lacking := len(self.missing(space)):
                raise CourseError(f"{space!r} lacks {lacking} texts, so it can't answer yet; backfill it first.")
            if space != self.live:
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
        with self._written("drop"):
            if space == self.live:
                raise CourseError(f"{space!r} is live; switch to another space before you drop it.")
            self._db.execute("DELETE FROM vectors WHERE space = ?", (space,))
            self._db.execute("DELETE FROM spaces WHERE name = ?", (space,))
            self._db.execute("UPDATE live SET previous = NULL WHERE previous = ?", (space,))

    def search(self, query: str, model: Model, k: int = 10, space: str | None = None) -> list[tuple[str, float]]:
        """The k nearest texts: (id, dot product), best first; of the live space, or of one that is named.

        Raises:
            CourseError: no space is live, or this model didn't make it.
        """
        chosen = space or self.live
        if chosen is None:
            raise CourseError("No space is live yet; backfill one and switch to it.")
        self._check(chosen, model)
        names, vectors = self.vectors(chosen)
        scores = vectors @ np.asarray(model.encode_query([query]), dtype=np.float32)[0]
        return [(names[i], float(scores[i])) for i in np.argsort(-scores, kind="stable")[:k]]

    def vectors(self, space: str) -> tuple[list[str], Floats]:
        """The ids of a space and its (n, d) vectors, in order of id."""
        dims, _ = self._kept(space)
        rows = self._db.execute("SELECT id, vector FROM vectors WHERE space = ? ORDER BY id", (space,)).fetchall()
        flat = np.frombuffer(b"".join(row[1] for row in rows), dtype=np.float32)
        return [str(row[0]) for row in rows], flat.reshape(len(rows), dims)

    def overlap(self, queries: Sequence[str], spaces: Mapping[str, Model], k: int = 10) -> Floats:
        """(q,) the share of the k nearest that two spaces have in common, the *shadow* of one behind the other."""
        found = [[{n for n, _ in self.search(q, m, k, s)} for q in queries] for s, m in spaces.items()]
        return np.array([len(a & b) / max(len(a), 1) for a, b in zip(*found, strict=True)], dtype=np.float32)

    def _check(self, space: str, model: Model) -> bytes:
        """Refuse a model that didn't make a space, by the vectors at rest, never by its own; the fingerprint at rest.

        It is read each time, since another process may have dropped the space and begun another of the same name.
        """
        dims, rest = self._kept(space)
        known, left = self._known.get((space, model), (b"", 0))
        if known == rest and left:
            self._known[space, model] = (rest, left - 1)
            return rest
        kept, now = np.frombuffer(rest, dtype=np.float32).reshape(-1, dims), _fingerprint(model)
        if now.shape != kept.shape:
            raise CourseError(f"{space!r} has {dims} dimensions, and this model {now.shape[1]}: another model.")
        off = float(np.abs(now - kept).max() / np.abs(kept).max())
        if off > TOLERANCE:
            raise CourseError(
                f"Another model made {space!r}: it has as many dimensions, but the vectors of test sentences differ by "
                f"{off:.1%} of the largest number. Begin a space of its own for this one."
            )
        self._known[space, model] = (rest, RECHECK)
        return rest

    def _kept(self, space: str) -> tuple[int, bytes]:
        """The dimensions of a space and its fingerprint."""
        found = self._db.execute("SELECT dims, fingerprint FROM spaces WHERE name = ?", (space,)).fetchone()
        if not found:
            raise CourseError(f"There is no space {space!r}; begin one first.")
        return int(found[0]), bytes(found[1])

    def _vectors(self, space: str, model: Model, texts: list[str]) -> tuple[bytes, Floats]:
        """The fingerprint of the space that a model was held against, and (n, d) its vectors of documents."""
        rest = self._check(space, model)
        return rest, np.ascontiguousarray(np.asarray(model.encode_document(texts), dtype=np.float32))

    def _put(self, space: str, fingerprint: bytes, texts: Mapping[str, str], vectors: Floats) -> int:
        """Write vectors where text and space are still those that they were made of; how many were."""
        put = "INSERT OR REPLACE INTO vectors SELECT name, id, ? FROM spaces, texts WHERE name = ? AND fingerprint = ? "
        rows = [(v.tobytes(), space, fingerprint, n, t) for (n, t), v in zip(texts.items(), vectors, strict=True)]
        written = self._db.executemany(f"{put} AND id = ? AND text = ?", rows).rowcount
        self._watch("written, not committed")
        return written

    def _written(self, what: str) -> "_Transaction":
        return _Transaction(self._db, self._watch, what)


def _fingerprint(model: Model) -> Floats:
    """(2 c, d): a model's vectors of the canaries as queries, then as documents."""
    both = (model.encode_query(list(CANARIES)), model.encode_document(list(CANARIES)))
    return np.concatenate([np.asarray(side, dtype=np.float32) for side in both])


class _Transaction:
    """All or nothing, nobody else writing meanwhile, with the points at which a process can be ended."""

    def __init__(self, db: sqlite3.Connection, watch: Callable[[str], None], what: str) -> None:
        self.db, self.watch, self.what = db, watch, what

    def __enter__(self) -> None:
        self.watch(f"before {self.what}")
        try:
            self.db.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            raise CourseError(
                f"The index can't be written now ({error}); end the other writer, or try again."
            ) from error

    def __exit__(self, kind: Any, *_: Any) -> None:
        if kind is None:
            self.watch(f"before the commit of {self.what}")
            self.db.commit()
            self.watch(f"after the commit of {self.what}")
        else:
            self.db.rollback()
