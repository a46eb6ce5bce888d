"""Judges that are declared: a reference, the form of its answer, and a sentence for each usual mistake.

`ByReference` compares what an answer returns with what the reference returns. Where they differ it names the mistake
that gives the same values, else the trap in which the first wrong case lies, else what to do. What is judged by its
behaviour, such as the batches it asks for, keeps a judge of its own.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import repeat
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from helpers.checks.tasks import Case, call

Answer = Callable[..., Any]


class MalformedError(ValueError):
    """An answer that can't be compared; the message is the sentence for the learner."""


class Form(Protocol):
    """How answers of one kind are read and compared, and how a difference is put into words."""

    def read(self, value: Any, right: Any) -> Any:
        """The value as it is compared; MalformedError where it hasn't the reference's form."""

    def same(self, one: Any, other: Any) -> bool:
        """Whether two read values are the same."""

    def difference(self, got: Any, right: Any) -> str:
        """The difference, in words."""


@dataclass(frozen=True)
class ByReference:
    """A judge: the right values are the reference's, and a mistake is named if it explains every wrong value.

    Args:
        reference: the task's function.
        form: of what it returns.
        advice: what to do where nothing else is known.
        mistakes: a sentence to what makes this mistake: a function with the reference's arguments, or the reference's
            own keyword arguments that do.
        traps: a sentence to whether a case is of the sort that it warns of.
        about: the case in words, where the difference alone says too little.
        judged: a read value and its case to what is compared, where several values are right; raises MalformedError
            for a value that can't be right.
        words: the value, the right one and the case to their difference, where the form's own words don't do.
        probe: runs a function on a case; the task's, where that has one.
        alternatives: the reference's own keyword arguments under which it is right as well, such as another method.
    """

    reference: Answer
    form: Form
    advice: str
    mistakes: Mapping[str, Answer | dict[str, Any]]
    traps: Mapping[str, Callable[..., bool]] = field(default_factory=dict)
    about: Callable[..., str] = lambda *case: ""
    judged: Callable[..., Any] = lambda value, *case: value
    words: Callable[..., str] | None = None
    probe: Callable[[Answer, Case], Any] = call
    alternatives: Sequence[dict[str, Any]] = ()

    def __call__(self, cases: Sequence[Case], values: Sequence[Any]) -> str | None:
        """None if every value is right, else the sentence for the learner."""
        wanted = [self.form.read(value, value) for value in (self.probe(self.reference, case) for case in cases)]
        right = [self.judged(value, *case) for value, case in zip(wanted, cases, strict=True)]
        try:
            read = [self.form.read(value, other) for value, other in zip(values, wanted, strict=True)]
            got = [self.judged(value, *case) for value, case in zip(read, cases, strict=True)]
        except MalformedError as problem:
            return str(problem)
        wrong = [i for i in range(len(cases)) if not self.form.same(got[i], right[i])]
        others = (partial(self.reference, **options) for options in self.alternatives)
        if not wrong or any(all(map(self._gives, repeat(other), cases, got)) for other in others):
            return None
        first = cases[wrong[0]]
        difference = self._difference(got[wrong[0]], right[wrong[0]], first)
        for sentence in self.mistakes:
            if all(self._gives(self.mistaken(sentence), cases[i], got[i]) for i in wrong):
                return f"{sentence}: {difference}."
        for sentence, holds in self.traps.items():
            if holds(*first):
                return f"{difference}, where {sentence}."
        return f"{difference}. {self.advice}"

    def tells_apart(self, *case: Any) -> bool:
        """Whether on this case the reference and each mistake give different answers; to draw cases by."""
        answers = [self._own(answer, case) for answer in (self.reference, *map(self.mistaken, self.mistakes))]
        return not any(self.form.same(one, other) for i, one in enumerate(answers) for other in answers[:i])

    def mistaken(self, sentence: str) -> Answer:
        """A function that makes this mistake."""
        mistake = self.mistakes[sentence]
        return partial(self.reference, **mistake) if isinstance(mistake, dict) else mistake

    def _gives(self, answer: Answer, case: Case, got: Any) -> bool:
        """Whether an answer of the judge's own gives this value."""
        return self.form.same(got, self._own(answer, case))

    def _own(self, answer: Answer, case: Case) -> Any:
        """What is compared of an answer of the judge's own."""
        value = self.probe(answer, case)
        return self.judged(self.form.read(value, value), *case)

    def _difference(self, got: Any, right: Any, case: Case) -> str:
        return self.words(got, right, *case) if self.words else self.form.difference(got, right) + self.about(*case)


def array(value: Any) -> NDArray[np.float64]:
    """Numbers of any library as one float64 array.

    Raises:
        MalformedError: they are text, or complex.
    """
    if hasattr(value, "detach"):  # a tensor, perhaps with a gradient, perhaps in bfloat16
        value = value.detach().cpu()
        value = value.numpy() if value.is_complex() else value.double().numpy()
    if isinstance(value, list | tuple) and value and hasattr(value[0], "detach"):
        return np.stack([array(row) for row in value])
    numbers = np.asarray(value)
    if numbers.dtype.kind not in "biufO":
        raise MalformedError(f"{str(value)[:60]!r} is not made of real numbers; return numbers.")
    try:
        return numbers.astype(np.float64)
    except (TypeError, ValueError):  # a dict, None in a list: NumPy keeps them as objects
        raise MalformedError(f"{str(value)[:60]!r} is not made of real numbers; return numbers.") from None


@dataclass(frozen=True)
class Number:
    """One number, within a tolerance; None only where `optional`, and then it equals None alone."""

    wanted: str = "return one number"
    rtol: float = 1e-6
    atol: float = 1e-9
    show: str = ",.3f"
    unit: str = ""
    optional: bool = False

    def read(self, value: Any, right: Any) -> float | None:
        if value is None and self.optional:
            return None
        got = array(value)
        if got.shape != ():
            raise MalformedError(f"the shape is {got.shape}; {self.wanted}.")
        if isinstance(value, bool | np.bool_):
            raise MalformedError(f"it is {value}; {self.wanted}.")
        return float(got)

    def same(self, one: float | None, other: float | None) -> bool:
        if one is None or other is None:
            return one is other
        both_nan = math.isnan(one) and math.isnan(other)
        return both_nan or math.isclose(one, other, rel_tol=self.rtol, abs_tol=self.atol)

    def difference(self, got: float | None, right: float | None) -> str:
        return f"{self._format(got)} instead of {self._format(right)}{self.unit}"

    def _format(self, value: float | None) -> str:
        return "None" if value is None else format(value, self.show)


@dataclass(frozen=True)
class Vectors:
    """An array of the reference's shape, within a tolerance."""

    wanted: str = "one row a text"
    atol: float = 1e-5

    def read(self, value: Any, right: Any) -> NDArray[np.float64]:
        got = array(value)
        if right is not None and got.shape != np.shape(right):
            raise MalformedError(f"the shape is {got.shape}, and it should be {np.shape(right)}: {self.wanted}.")
        return got

    def same(self, one: NDArray[Any], other: NDArray[Any]) -> bool:
        return one.shape == other.shape and np.allclose(one, other, atol=self.atol, equal_nan=True)

    def difference(self, got: NDArray[Any], right: NDArray[Any]) -> str:
        place = tuple(np.argwhere(~np.isclose(got, right, atol=self.atol))[0])
        return f"{got[place]:.3f} instead of {right[place]:.3f} at {list(map(int, place))}"


@dataclass(frozen=True)
class Ranking:
    """The numbers 0 to n - 1, each once, best first."""

    of: str = "document"
    values: str = "scores"

    def read(self, value: Any, right: Any) -> list[int]:
        got = np.asarray(value)
        n = len(got) if right is None and got.ndim else len(right)
        if got.shape != (n,):
            raise MalformedError(
                f"the shape is {got.shape}, and it should be ({n},): every {self.of}'s number, best first."
            )
        if not np.array_equal(np.sort(got), np.arange(n)):
            raise MalformedError(
                f"these aren't the numbers 0 to {n - 1}, each once: return positions (argsort), not {self.values}."
            )
        return [int(i) for i in got]

    def same(self, one: list[int], other: list[int]) -> bool:
        return one == other

    def difference(self, got: list[int], right: list[int]) -> str:
        place = next(i for i in range(len(right)) if got[i] != right[i])
        standing = "is first" if place == 0 else f"is at rank {place + 1}"
        return f"{self.of} {got[place]} {standing}, and {right[place]} should be"


@dataclass(frozen=True)
class Entries:
    """A dict with the reference's keys, each value of one form; where `free`, which keys it has is what is judged.

    A pandas Series counts as a dict, and so does a DataFrame of one row or one column.
    """

    of: Form = Number()
    free: bool = False

    def read(self, value: Any, right: Any) -> dict[Any, Any]:
        value = as_dict(value)
        keys = value if self.free or right is None else right
        if not isinstance(value, Mapping) or value.keys() != keys.keys():
            names = "" if self.free else f" with the keys {', '.join(map(str, keys))}"
            raise MalformedError(f"return a dict{names}; this is {str(value)[:60]}.")
        return {key: self.of.read(value[key], (right or {}).get(key)) for key in keys}

    def same(self, one: dict[Any, Any], other: dict[Any, Any]) -> bool:
        return one.keys() == other.keys() and self.differing(one, other) is None

    def differing(self, one: dict[Any, Any], other: dict[Any, Any]) -> Any:
        """The first key that the two haven't in common, or under which they differ."""
        both = one.keys() & other.keys()
        return next(
            (key for key in {**one, **other} if key not in both or not self.of.same(one[key], other[key])), None
        )

    def difference(self, got: dict[Any, Any], right: dict[Any, Any]) -> str:
        key = self.differing(got, right)
        if key not in right:
            return f"{key} doesn't belong there"
        return f"{key} is {self.of.difference(got[key], right[key]) if key in got else 'missing'}"


def as_dict(value: Any) -> Any:
    """A pandas Series as a dict, and a DataFrame of one row or column too; anything else as it is."""
    if not hasattr(value, "to_dict"):
        return value
    if value.ndim == 2 and 1 in value.shape:
        value = value.iloc[0] if len(value) == 1 else value.iloc[:, 0]
    return value.to_dict()


@dataclass(frozen=True)
class Places:
    """A tuple, each place with a name and of one form; `wanted` says what else to mind."""

    names: tuple[str, ...]
    of: Form = Number()
    wanted: str = ""

    def read(self, value: Any, right: Any) -> dict[str, Any]:
        value = value.to_list() if hasattr(value, "to_list") else value  # a Series, as pandas gives them
        if not isinstance(value, list | tuple | np.ndarray) or len(value) != len(self.names):
            raise MalformedError(
                f"return {len(self.names)} values: {', '.join(self.names)}{self.wanted}; this is {str(value)[:60]}."
            )
        rights = right.values() if isinstance(right, Mapping) else value
        return {name: self.of.read(*pair) for name, *pair in zip(self.names, value, rights, strict=True)}

    def same(self, one: dict[str, Any], other: dict[str, Any]) -> bool:
        return Entries(self.of).same(one, other)

    def difference(self, got: dict[str, Any], right: dict[str, Any]) -> str:
        return Entries(self.of).difference(got, right)


@dataclass(frozen=True)
class Embeddings(Vectors):
    """Vectors of texts; of a wrong one it is said how near it lies to the right one."""

    atol: float = 1e-4

    def difference(self, got: NDArray[Any], right: NDArray[Any]) -> str:
        lengths = np.linalg.norm(got, axis=1) * np.linalg.norm(right, axis=1)
        cosines = (got * right).sum(axis=1) / np.maximum(lengths, 1e-12)
        row = int(cosines.argmin())
        return f"text {row + 1} of {len(right)} has a cosine of {cosines[row]:.3f} with the right vector"


@dataclass(frozen=True)
class Decisions:
    """True or False, one or an array of the reference's shape."""

    wrong: str = "are wrong"
    wanted: str = "return True or False"

    def read(self, value: Any, right: Any) -> NDArray[np.bool_]:
        got = array(value)
        if right is not None and got.shape != np.shape(right):
            raise MalformedError(f"the shape is {got.shape}, and it should be {np.shape(right)}: {self.wanted}.")
        if not np.isin(got, (0, 1)).all():
            raise MalformedError(f"{got.ravel()[0]:.2f} isn't True or False: {self.wanted}.")
        return got.astype(bool)

    def same(self, one: NDArray[np.bool_], other: NDArray[np.bool_]) -> bool:
        return np.array_equal(one, other)

    def difference(self, got: NDArray[np.bool_], right: NDArray[np.bool_]) -> str:
        if right.ndim == 0:
            return f"{got} instead of {right}"
        return f"{(got != right).sum()} of {right.size} {self.wrong}"


@dataclass(frozen=True)
class Exactly:
    """True, False, None or a name, compared as it is."""

    def read(self, value: Any, right: Any) -> Any:
        return value.item() if isinstance(value, np.generic) else value

    def same(self, one: Any, other: Any) -> bool:
        return bool(one == other)

    def difference(self, got: Any, right: Any) -> str:
        return f"{got} instead of {right}"


@dataclass(frozen=True)
class ByBehaviour:
    """A judge by hand: `faults` yields what is wrong with a case's value, the gravest first, which is what is said."""

    faults: Callable[[Case, Any], Iterator[str]]

    def __call__(self, cases: Sequence[Case], values: Sequence[Any]) -> str | None:
        """None if no value has a fault, else the first."""
        return next((fault for one in zip(cases, values, strict=True) for fault in self.faults(*one)), None)


@dataclass(frozen=True)
class Rows:
    """A list as long as the reference's, each row of one form."""

    of: Form
    wanted: str = "one row each"

    def read(self, value: Any, right: Any) -> list[Any]:
        if not isinstance(value, list | tuple | np.ndarray) or (right is not None and len(value) != len(right)):
            size = len(value) if hasattr(value, "__len__") else type(value).__name__
            raise MalformedError(f"there are {size} rows, and there should be {len(right)}: {self.wanted}.")
        return [self.of.read(row, row if right is None else right[i]) for i, row in enumerate(value)]

    def same(self, one: list[Any], other: list[Any]) -> bool:
        return len(one) == len(other) and all(map(self.of.same, one, other))

    def differing(self, one: list[Any], other: list[Any]) -> int:
        """The first row in which the two differ."""
        return next(i for i in range(len(other)) if not self.of.same(one[i], other[i]))

    def difference(self, got: list[Any], right: list[Any]) -> str:
        row = self.differing(got, right)
        return f"{self.of.difference(got[row], right[row])} in row {row}"


@dataclass(frozen=True)
class Listed:
    """Whole numbers, or tuples of `width` of them; which, how many and their order is what is judged."""

    of: str = "whole numbers, positions in `models`"
    width: int = 1

    def read(self, value: Any, right: Any) -> list[Any]:
        got = np.asarray(value) if isinstance(value, Sequence) or hasattr(value, "__array__") else np.array(None)
        shape = got.shape[:1] if self.width == 1 else (*got.shape[:1], self.width)
        if got.size and (got.dtype.kind not in "iuf" or got.shape != shape or (got % 1).any()):
            raise MalformedError(f"return a list of {self.of}; this is {str(value)[:60]}.")
        return [tuple(row) if isinstance(row, list) else row for row in got.astype(np.int64).tolist()]

    def same(self, one: list[Any], other: list[Any]) -> bool:
        return one == other

    def difference(self, got: list[Any], right: list[Any]) -> str:
        odd = next((item for item in [*got, *right] if item not in right or item not in got), None)
        if odd is None:
            return f"{got} instead of {right}"
        return f"{odd} is missing" if odd in right else f"{odd} doesn't belong there"


@dataclass(frozen=True)
class Part:
    """One part of a dict or a tuple, under its key; `wanted` says how the whole should be."""

    key: str | int
    name: str
    wanted: str
    of: Form = Number()

    def read(self, value: Any, right: Any) -> dict[str | int, Any]:
        try:
            part = value[self.key]
        except (LookupError, TypeError):
            raise MalformedError(f"there is no {self.name} in {str(value)[:60]}; {self.wanted}.") from None
        return {self.key: self.of.read(part, None if right is None else right[self.key])}

    def same(self, one: dict[str | int, Any], other: dict[str | int, Any]) -> bool:
        return self.of.same(one[self.key], other[self.key])

    def difference(self, got: dict[str | int, Any], right: dict[str | int, Any]) -> str:
        return f"{self.name} is {self.of.difference(got[self.key], right[self.key])}"


@dataclass(frozen=True)
class Json:
    """A dict as JSON can write it, of text and of Python's own numbers; there may be more in it than is asked for.

    Read as a dict from each place, such as "data[0].index", to the number that stands there, or to words for the rest.
    Only what lies `under` one key is looked at, if there is one.
    """

    under: str = ""
    atol: float = 1e-5

    def read(self, value: Any, right: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise MalformedError(f"it returns {type(value).__name__}; return a dict, which a server turns into JSON.")
        whole = {self.under: value.get(self.under)} if self.under else value
        return dict(leaf for key in whole for leaf in self._leaves(whole[key], str(key)))

    def same(self, one: dict[str, Any], other: dict[str, Any]) -> bool:
        return not self._differing(one, other)

    def difference(self, got: dict[str, Any], right: dict[str, Any]) -> str:
        place = self._differing(got, right)[0]
        return f"{place} is {got.get(place, 'missing')!s:.40} instead of {right[place]!s:.40}"

    def _differing(self, one: dict[str, Any], other: dict[str, Any]) -> list[str]:
        return [place for place, leaf in other.items() if place not in one or not self._equal(one[place], leaf)]

    def _equal(self, one: Any, other: Any) -> bool:
        if isinstance(one, int | float) and isinstance(other, int | float):
            return math.isclose(one, other, rel_tol=0, abs_tol=self.atol)
        return bool(one == other)

    def _leaves(self, value: Any, place: str) -> Iterator[tuple[str, Any]]:
        if isinstance(value, dict):
            for key, item in value.items():
                yield from self._leaves(item, f"{place}.{key}")
        elif isinstance(value, list | tuple):
            yield place, f"a list of {len(value)}"
            for i, item in enumerate(value):
                yield from self._leaves(item, f"{place}[{i}]")
        else:
            words = repr(value) if isinstance(value, str | bool | None) else f"of the type {type(value).__name__}"
            yield place, value if isinstance(value, int | float) and not isinstance(value, bool) else words


class InTurn:
    """A judge of several, each of a part of the answer: the first that finds something wrong speaks."""

    def __init__(self, *judges: ByReference) -> None:
        self.judges = judges
        self.mistakes = {sentence: judge for judge in judges for sentence in judge.mistakes}

    def __call__(self, cases: Sequence[Case], values: Sequence[Any]) -> str | None:
        """None if every part of every value is right, else the sentence for the learner."""
        return next(filter(None, (judge(cases, values) for judge in self.judges)), None)

    def mistaken(self, sentence: str) -> Answer:
        """A function that makes this mistake."""
        return self.mistakes[sentence].mistaken(sentence)
