"""What the fuzz tests share: kinds that are tried in turn until their time is up."""

import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(["\ud800", "\0"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


class Kind(NamedTuple):
    """What is tried and what must come of it: `right` raises AssertionError where it doesn't."""

    attempts: st.SearchStrategy[Any]
    right: Callable[[Any], None]
    dear: bool = False  # seconds an attempt, so that only two are made in a turn


def run(kinds: Mapping[str, Kind], *, examples: int, seconds: float = 0, first: int = 0) -> Counter[str]:
    """Try so many attempts of each kind, and again, drawn anew, until the time is up; how many were made of each.

    Raises:
        AssertionError: something wrong was found; names the kind and the attempt.
    """
    made: Counter[str] = Counter()
    end, turn = time.monotonic() + seconds, first
    while turn == first or time.monotonic() < end:
        for name, kind in kinds.items():
            if turn > first and time.monotonic() >= end:
                break
            made[name] += _tried(name, kind, 2 if kind.dear else examples, turn)
        turn += 1
    return made


def finds_without(
    mend: tuple[Any, str, Any, str], kinds: Mapping[str, Kind], patch: pytest.MonkeyPatch, *, examples: int
) -> None:
    """See that the fuzz finds what a mend was for, once it is taken back.

    Args:
        mend: the module and name that hold it, what stands there instead, and how the kind that finds it begins.
        kinds: all of them.
        patch: takes it back until the test ends.
        examples: attempts of that kind.
    """
    module, name, other, kind = mend
    patch.setattr(module, name, other)
    with pytest.raises(AssertionError, match=kind):
        run({known: how for known, how in kinds.items() if known.startswith(kind)}, examples=examples)


def _tried(name: str, kind: Kind, examples: int, number: int) -> int:
    """Make so many attempts of one kind, drawn by a number; how many were made."""
    made, found = 0, list[AssertionError]()

    @seed(number)
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(kind.attempts)
    def each(attempt: Any) -> None:
        nonlocal made
        if not found:
            made += 1
            try:
                kind.right(attempt)
            except Exception as error:
                what = AssertionError(f"{name}: {type(error).__name__}: {error}; tried {_shown(attempt)}")
                what.__cause__ = error
                found.append(what)

    each()
    if found:  # raised here, since hypothesis would want the text of every value, and some have none
        raise found[0]
    return made


def _shown(attempt: Any) -> str:
    try:
        return repr(attempt)[:600]
    except Exception:
        return f"a {type(attempt).__name__} whose text can't be had"
