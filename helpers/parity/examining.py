"""The examination: what an endpoint gives against what the real model gives, right or under each fault.

First what can be seen without the model (lengths, order, batches), then what happens to every text, looked for on plain
texts alone, singly and in pairs; then what happens to some texts only; what is left is precision, or other weights. A
fault is named where it explains what is seen, and only there.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from helpers.parity import probes
from helpers.parity.asking import Ask, RefusedError
from helpers.parity.reference import RIGHT, Floats, Reference, Side, Variant, joined

# 1 - cosine. Honest runtimes of one precision stay below SAME (held to in tests/parity); each precision has a range.
SAME = 2e-5
PRECISIONS = (
    (2e-3, "16 bits", "16 bits, or stores its vectors in 8"),
    (3e-2, "8 bits", "about 8 bits"),
    (0.12, "4 bits", "about 4 bits"),
)
APART = 0.3  # more than rounding and a fault beside it leave
TURNED = 0.93  # correlation of cosines between texts from which on vectors are the model's, turned or projected
EXPLAINED = 0.35  # of the deviation may be left where a fault is named
LIMITS = (8, 16, 32, 48, 64, 96, 126, 128, 192, 254, 256, 384, 510, 512, 1024, 2048, 4096, 8192)
SAID = {
    "opening": "the opening special token is missing",
    "closing": "the closing special token is missing",
    "casing": "upper and lower case are treated otherwise than by the model's tokenizer",
    "accents": "accents are treated otherwise than by the model's tokenizer",
}


@dataclass(frozen=True)
class Finding:
    """One fault: its name, and a sentence that says what is wrong and what to do."""

    fault: str
    sentence: str


@dataclass
class Examination:
    """What came out.

    Attributes:
        findings: what is wrong, the gravest first.
        left: the largest 1 - cosine on plain texts that no finding explains.
        deviation: 1 - cosine to the right vector by probe.
        refused: probes that the endpoint refused, with its words.
        agreement: the share of nearest neighbours among the probes that are the reference's.
        seconds: how long it took.
    """

    findings: list[Finding] = field(default_factory=list)
    left: float = 0.0
    deviation: dict[str, float] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    agreement: float = 1.0
    seconds: float = 0.0

    @property
    def passed(self) -> bool:
        """Whether it is the model, as far as these texts can tell."""
        return not self.findings

    @property
    def faults(self) -> list[str]:
        """The names of what was found."""
        return [finding.fault for finding in self.findings]

    def __str__(self) -> str:
        worst = max(self.deviation.values(), default=0.0)
        if self.passed:
            said = ["It is the model: no vector deviates by more than rounding."]
        else:
            said = [f"{i}. {finding.sentence}" for i, finding in enumerate(self.findings, start=1)]
        said.append(f"Largest 1 - cosine {worst:.1e}; {self.agreement:.0%} of nearest neighbours are the same.")
        said += [f"Refused: {probe} ({why[:120]})" for probe, why in self.refused.items()]
        return "\n".join(said)


def examine(ask: Ask, reference: Reference, say: Callable[[str], None] = lambda line: None) -> Examination:
    """Send the probes and name what is wrong.

    Args:
        ask: (texts, side) to (n, d).
        reference: the model that it should be, in the precision that it should run in.
        say: told what is being done.

    Raises:
        CourseError: the endpoint doesn't answer, or not with vectors.
    """
    began = time.perf_counter()
    run = _Run(ask, reference)
    for step in (run.plain, run.shape, run.everywhere, run.somewhere, run.batches, run.cut, run.precision):
        say(step.__doc__ or "")
        step()
        if run.ended:
            break
    run.told.seconds = time.perf_counter() - began
    return run.told


class _Run:
    def __init__(self, ask: Ask, reference: Reference) -> None:
        self.ask, self.reference, self.told = ask, reference, Examination()
        self.sides = reference.sides
        self.dims, self.variant, self.ended = reference.dims, RIGHT, False
        self.alone: dict[tuple[str, Side], Floats] = {}

    def found(self, fault: str, sentence: str) -> None:
        self.told.findings.append(Finding(fault, sentence))

    def get(self, text: str, side: Side, name: str = "") -> Floats | None:
        """The endpoint's vector of a text on its own, of length 1; None where it refuses."""
        if (text, side) not in self.alone:
            try:
                self.alone[text, side] = self.ask([text], side)[0]
            except RefusedError as refusal:
                self.told.refused[name or text[:40]] = str(refusal)
                return None
        return unit(self.alone[text, side])

    def right(self, text: str, variant: Variant, side: Side) -> Floats:
        """What the reference gives, cut to as many dimensions as the endpoint's."""
        return unit(self.reference.vectors([text], variant, side)[0][: self.dims])

    def off(self, text: str, variant: Variant, side: Side, name: str = "") -> float:
        """1 - cosine of the endpoint's vector with the reference's; NaN where it refuses."""
        got = self.get(text, side, name)
        if got is None:
            return float("nan")
        real = self.right(text, variant, side)
        return max(0.0, 1 - float(got @ real)) if np.isfinite(real).all() else float("inf")  # it wasn't recorded

    def worst(self, texts: tuple[str, ...], variant: Variant) -> float:
        """The largest deviation over texts and sides."""
        values = [self.off(text, variant, side) for text in texts for side in self.sides]
        return max((v for v in values if not np.isnan(v)), default=0.0)

    def plain(self) -> None:
        """Plain texts, one by one."""
        for text in probes.PLAIN:
            for side in self.sides:
                self.get(text, side)
        if not self.alone:
            self.found("refused", "It refuses every text; see what it says below.")
            self.ended = True

    def shape(self) -> None:
        """Dimensions, lengths, finite numbers."""
        vectors = np.stack(list(self.alone.values()))
        if not np.isfinite(vectors).all():
            self.found("not finite", "Vectors hold NaN or infinity; look for an overflow in 16 bits.")
            self.ended = True
            return
        size, whole = vectors.shape[1], self.reference.dims
        if size > whole:
            self.found("other weights", f"Vectors have {size} dimensions, and the model's have {whole}: another model.")
            self.ended = True
            return
        if size < whole:
            self.dims = size
            self.found(
                "dimension cut",
                f"Vectors are cut to {size} of {whole} dimensions; ask for all, or say so in the index.",
            )
        if np.ptp(np.abs(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))) < 1e-6:
            self.found("precision 1 bit", "Vectors hold one bit a dimension; ask for numbers, or compare by bits.")
        lengths = np.linalg.norm(vectors, axis=1)
        if self.reference.normalises and np.abs(lengths - 1).max() > 1e-2:
            ends = f"{lengths.min():.2f} to {lengths.max():.2f}"
            self.found(
                "not normalised",
                f"Vectors aren't normalised (lengths {ends}); a dot product will favour the long ones.",
            )

    def batches(self) -> None:
        """The same texts in batches of unlike lengths, twice, and in another order."""
        side, texts = self.sides[0], list(probes.BATCH)
        alone = [self.get(text, side) for text in texts]
        if any(vector is None for vector in alone):
            return
        single = np.stack([v for v in alone if v is not None])
        together = np.stack([unit(v) for v in self.ask(texts, side)])
        off = 1 - (together * single).sum(axis=1)
        noise = 1 - float(unit(self.ask([texts[0]], side)[0]) @ single[0])
        if noise > 1e-3:
            self.found(
                "not deterministic",
                "The same text gets another vector each time; look for dropout, or several replicas.",
            )
            return
        base = self.worst(probes.PLAIN, self.variant)
        allowed = max(1e-4, 1.5 * base if base < PRECISIONS[2][0] else 0.0)  # rounding may hang on the batch
        if off.max() <= allowed:
            return
        padded = np.stack([unit(v[: self.dims]) for v in self.reference.padded_mean(texts, self.variant)])
        for expected, fault in ((single, ""), (padded, "padding counted")):
            place, left = _matched(together, expected)
            if left > max(allowed, 0.1 * off.max() if fault else 0.0):
                continue
            if place != sorted(place):
                self.found(
                    "order lost", "Vectors come back in another order than the texts; put them back by their index."
                )
            if fault:
                self.found(
                    fault,
                    "Padding is counted in the mean, so a vector depends on its batch; give pooling the mask.",
                )
            return
        self.found(
            "batch-dependent",
            f"A text gets another vector in a batch (1 - cosine up to {off.max():.1e}); send texts alone, or mend the "
            "mask.",
        )

    def everywhere(self) -> None:
        """What happens to every text: special tokens, pooling, prompts, singly and in pairs."""
        before = self.worst(probes.PLAIN, RIGHT)
        if before <= SAME:
            return
        kinds = {k: v for k, v in self.reference.variants().items() if k in ("opening", "closing", "pooling", "prompt")}
        single = [variant for variants in kinds.values() for variant in variants]
        pairs = [joined(a, b) for one, other in combinations(kinds, 2) for a in kinds[one] for b in kinds[other]]
        quick = probes.PLAIN[:2]
        best, left = RIGHT, before
        for group in (single, pairs):
            for variant in sorted(group, key=lambda variant: self.worst(quick, variant))[:4]:
                found = self.worst(probes.PLAIN, variant)
                if found < left * EXPLAINED:  # two faults have to explain much more than one
                    best, left = variant, found
            if left <= SAME:
                break
        if best != RIGHT and left <= PRECISIONS[2][0]:
            self.variant = best
            self.name(best)

    def name(self, variant: Variant) -> None:
        for fault in variant.faults():
            value = getattr(variant, fault)
            if fault == "pooling":
                self.found("pooling", f"Pooling is {value} instead of {self.reference.pooling}; set it in the runtime.")
            elif fault == "prompt":
                self.found("prompt", f"{self.prompt_said(value)}; put it there once, on the right side.")
            else:
                self.found(
                    fault, f"{SAID[fault][0].upper()}{SAID[fault][1:]}; compare the ids that its tokenizer gives."
                )

    @staticmethod
    def prompt_said(value: str) -> str:
        made = {
            "missing": "The model's prompt is missing",
            "doubled": "The model's prompt stands there twice",
            "other side": "Queries get the prompt of documents, and documents that of queries",
        }
        return made.get(
            value, f"A prompt that isn't the model's is put before each text: {value.removeprefix('added: ')!r}"
        )

    def somewhere(self) -> None:
        """What happens to some texts only: case, accents, other scripts, white space."""
        base = self.worst(probes.PLAIN, self.variant)
        limit = max(10 * base, 5 * SAME)
        for fault, texts in (("casing", probes.CASED), ("accents", probes.ACCENTED)):
            tried = self.reference.variants()[fault]
            off = self.worst(texts, self.variant)
            if off <= limit or not np.isfinite(off):
                continue
            made = joined(self.variant, tried[0])
            if self.worst(texts, made) <= max(limit, EXPLAINED * off):
                self.variant = made
                self.name(tried[0])
        odd = [
            name
            for name, text in {**probes.OTHERS, "upper case": probes.CASED[0], "accents": probes.ACCENTED[0]}.items()
            if max(limit, 1e-3) < self.off(text, self.variant, self.sides[0], name) < np.inf and base < PRECISIONS[0][0]
        ]
        if odd:
            self.found(
                "tokenizer",
                f"Another tokenizer: {', '.join(odd)} deviate where plain texts don't; take the model's own files.",
            )

    def cut(self) -> None:
        """Long texts: where they are cut."""
        text, side = probes.long_text(min(self.reference.limit, 8192) + 100), self.sides[0]
        base = self.worst(probes.PLAIN, self.variant)
        off = self.off(text, self.variant, side, "a long text")
        if not np.isfinite(off) or off <= max(10 * base, 1e-4):
            return
        possible = [n for n in LIMITS if n != self.reference.limit and n <= self.reference.positions]
        left = {n: self.off(text, replace(self.variant, limit=n), side) for n in possible}
        best = min(left, key=lambda n: left[n])
        if left[best] > (exact := max(10 * base, 1e-6)):  # it lies between two of them
            at = possible.index(best)
            between = range(possible[max(at - 1, 0)] + 1, possible[min(at + 1, len(possible) - 1)])
            left |= {n: self.off(text, replace(self.variant, limit=n), side) for n in between if n not in LIMITS}
            best = min(left, key=lambda n: left[n])
        if left[best] <= max(EXPLAINED * off, 10 * base):
            where = "before" if best < self.reference.limit else "beyond"
            about = "" if left[best] <= exact else "about "
            self.found(
                "cut",
                f"Texts are cut at {about}{best} tokens, {where} the model's own {self.reference.limit}; set the "
                "limit.",
            )
        else:
            self.found(
                "long texts",
                f"Long texts deviate by {off:.1e}, and no cut explains it; compare the ids of a long text.",
            )

    def precision(self) -> None:
        """What is left: rounding, or other weights."""
        left = self.told.left = self.worst(probes.PLAIN, self.variant)
        self.told.deviation = {
            name: self.off(text, RIGHT, self.sides[0], name)
            for name, text in {**dict(zip(probes.PLAIN, probes.PLAIN, strict=True)), **probes.OTHERS}.items()
            if np.isfinite(self.off(text, RIGHT, self.sides[0], name))
        }
        texts = [*probes.PLAIN, *probes.CASED, *probes.ACCENTED]
        side = self.sides[0]
        both = [(self.get(text, side), self.right(text, RIGHT, side)) for text in texts]
        got, real = (np.stack([pair[i] for pair in both if pair[0] is not None]) for i in (0, 1))  # type: ignore[misc]
        self.told.agreement = float(np.mean([set(a) == set(b) for a, b in zip(_near(got), _near(real), strict=True)]))
        if left <= SAME or "precision 1 bit" in self.told.faults:  # which explains all that is left
            return
        for limit, name, words in PRECISIONS:
            if left <= limit:
                self.found(
                    f"precision {name}",
                    f"It computes with {words} (1 - cosine up to {left:.1e}); hold it against a reference of "
                    "that precision, and look at what the ranking loses.",
                )
                return
        if left > APART and self.turned():
            self.found(
                "turned",
                "Vectors are turned or projected (as by PCA): cosines between texts are the model's, the vectors "
                "aren't; use them alone, never beside the model's own in one index.",
            )
        elif not self.told.findings or left > APART:
            self.found(
                "other weights",
                f"Other weights, or a fault that isn't looked for: plain texts deviate by {left:.2f}, and no fault "
                "explains it; compare revisions, and a prompt of the runtime's own.",
            )

    def turned(self) -> bool:
        """Whether cosines between texts are the model's, or the model's under a fault, though the vectors aren't."""
        side = self.sides[0]
        single = [variant for variants in self.reference.variants().values() for variant in variants]
        everything = (*probes.PLAIN, *probes.CASED, *probes.ACCENTED, *probes.OTHERS.values())
        for texts, variants, least in ((everything, [RIGHT], TURNED), (probes.PLAIN, single, 0.99)):
            answered = [(text, self.get(text, side)) for text in texts]
            got = _cosines(np.stack([vector for _, vector in answered if vector is not None]))
            read = [text for text, vector in answered if vector is not None]
            for variant in variants:
                whole = self.reference.vectors(read, variant, side)
                for dims in {self.dims, self.reference.dims}:
                    if np.corrcoef(got, _cosines(np.stack([unit(v[:dims]) for v in whole])))[0, 1] > least:
                        return True
        return False


def _cosines(vectors: Floats) -> Floats:
    """Of each pair of unit vectors."""
    return np.asarray((vectors @ vectors.T)[np.triu_indices(len(vectors), 1)])


def _matched(found: Floats, expected: Floats) -> tuple[list[int], float]:
    """Which of the expected vectors each found one is, as it stands or in another order, and the worst deviation."""
    scores = found @ expected.T
    if (1 - scores.diagonal()).max() <= (1 - scores.max(axis=1)).max() + 1e-6:
        return list(range(len(found))), float((1 - scores.diagonal()).max())
    rows, places = linear_sum_assignment(-scores)
    return [int(i) for i in places], float((1 - scores[rows, places]).max())


def unit(vector: Any) -> Floats:
    """A vector of length 1."""
    values = np.asarray(vector, dtype=np.float64)
    return np.asarray(values / max(float(np.linalg.norm(values)), 1e-12))


def _near(vectors: Floats, k: int = 2) -> Iterator[list[int]]:
    """The k nearest others of each vector."""
    scores = vectors @ vectors.T
    np.fill_diagonal(scores, -2)
    return iter(np.argsort(-scores, axis=1)[:, :k].tolist())
