"""The fuzz finds nothing, in a minute here and in ten at night; with a mend taken back it finds that.

python -m pytest -m execution tests/server/test_fuzz.py        ten minutes
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

from helpers.server import body, limits, parsing
from helpers.server.service import Service
from helpers.server.wire import ApiError
from tests.server import fuzz
from tests.server.live import TEXTS, within


@pytest.fixture(scope="module")
def live() -> Iterator[tuple[str, Service]]:
    """A server in this process, whose model gives no finite vector for one word."""
    with within(**fuzz.SETTINGS) as (url, service):
        model, batcher = service.model()
        works, marked = batcher.encode, model.tokenize([fuzz.NOT_FINITE])[0]
        batcher.encode = lambda rows: works(rows) + np.array([[np.nan if row == marked else 0] for row in rows], "f")
        yield url, service


@pytest.fixture(scope="module")
def references(minilm: SentenceTransformer) -> dict[str, Any]:
    return dict(zip(TEXTS, minilm.encode(TEXTS), strict=True))


def test_a_short_run_over_all_kinds_finds_nothing(live: tuple[str, Service], references: dict[str, Any]) -> None:
    assert set(fuzz.run(live[0], references, examples=2)) == set(fuzz.KINDS)


@pytest.mark.execution
def test_ten_minutes_find_nothing(live: tuple[str, Service], references: dict[str, Any]) -> None:
    tried = fuzz.run(live[0], references, examples=40, seconds=600)
    assert set(tried) == set(fuzz.KINDS) and tried.total() >= 500, tried


def matryoshka_only(self: limits.Limits, request: Any) -> None:
    if request.dimensions is not None:
        raise ApiError(400, "dimensions", param="dimensions")


TAKEN_BACK: dict[str, tuple[Any, str, Any]] = {
    "a text above the limit in characters": (limits.Limits, "_check_length", lambda *_: None),
    "a client that goes away": (body, "ClientDisconnect", KeyboardInterrupt),
    "a vector that isn't finite": (Service, "_check_finite", lambda *_: None),
    "what clients send unasked": (limits.Limits, "_check_dimensions", matryoshka_only),
    "an empty text among others": (parsing, "_about_input", lambda _: parsing.INPUT),
}


@pytest.mark.parametrize("kind", TAKEN_BACK)
def test_with_a_mend_taken_back_it_finds_that(
    live: tuple[str, Service], references: dict[str, Any], monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(*TAKEN_BACK[kind])
    monkeypatch.setattr(fuzz, "KINDS", {name: how for name, how in fuzz.KINDS.items() if name.startswith(kind)})
    with pytest.raises(AssertionError, match=kind):
        fuzz.run(live[0], references, examples=30)


def test_with_no_limit_in_time_it_finds_the_slow_body(
    live: tuple[str, Service], references: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live[1].bodies, "seconds", 60)
    monkeypatch.setattr(fuzz, "KINDS", {"a slow body": fuzz.slow})
    with pytest.raises(AssertionError, match="slow body was borne"):
        fuzz.run(live[0], references, examples=1)
