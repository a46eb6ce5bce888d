"""Exercise 05: one score, two instruction forms, attention masks, and a detector of the silent failure."""

import zlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from helpers import data
from helpers.checks import Task

Case = tuple[Any, ...]
Floats = NDArray[np.float64]
Encode = Callable[[list[str]], Floats]
States = Callable[[torch.Tensor], torch.Tensor]


def similarity_score(a: Floats, b: Floats) -> float:
    """Reference: the cosine of two vectors, as a number."""
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def _score_cases(seed: int) -> list[Case]:
    draw = np.random.default_rng(seed)
    cases: list[Case] = []
    for sign in (1, -1, 1):
        a = draw.normal(size=24)
        b = sign * 0.8 * a + draw.normal(size=24)
        cases.append((a * draw.uniform(1.5, 4), b * draw.uniform(1.5, 4)))
    return cases


def _judge_score(cases: Sequence[Case], values: Sequence[Any]) -> str | None:
    for (a, b), value in zip(cases, values, strict=True):
        if isinstance(value, str):
            return f"it returns the text {value!r}; return the number and leave the formatting to whoever prints it."
        if not isinstance(value, float | np.floating):
            shape = f" of shape {tuple(value.shape)}" if hasattr(value, "shape") else ""
            return f"it returns {type(value).__name__}{shape}, which f'{{x:.4f}}' or json may refuse; use .item()."
        right, told = similarity_score(a, b), f"{float(value):.3f} instead of {similarity_score(a, b):.3f}"
        if abs(float(value) - right) < 1e-4:
            continue
        mistakes: dict[str, Any] = {
            "that is the dot product, which grows with the vectors' lengths: {}. Divide by both lengths.": a @ b,
            "only one of the two lengths is divided out: {}. Divide by both.": (
                [a @ b / np.linalg.norm(a), a @ b / np.linalg.norm(b)]
            ),
            "that is a cosine distance, 1 minus the similarity: {}.": 1 - right,
            "that is a Euclidean distance: {}. Cosine looks at directions only.": np.linalg.norm(a - b),
            "the sign is lost: {}. Vectors that point apart have a negative cosine; keep it.": abs(right),
            "that is (1 + cosine) / 2, a cosine squeezed into 0 to 1: {}. Return the cosine itself.": (1 + right) / 2,
        }
        for sentence, wrong in mistakes.items():
            if np.isclose(value, wrong, atol=1e-4).any():
                return sentence.format(told)
        return f"the score is {told}. Divide the dot product by the product of the two lengths."
    return None


FORMS = {"gte-Qwen2": "Instruct: {task}\nQuery: ", "Qwen3": "Instruct: {task}\nQuery:"}


def instructed(
    encode: Encode, queries: list[str], documents: list[str], task: str, family: str
) -> tuple[Floats, Floats]:
    """Reference: query vectors with the family's instruction before each query, document vectors without."""
    before = FORMS[family].replace("{task}", task)
    return encode([before + query for query in queries]), encode(list(documents))


def characters(texts: list[str]) -> Floats:
    """A toy encoder that sees every character: hashed triples of characters, counted; (texts, 64)."""
    rows = np.zeros((len(texts), 64))
    for row, text in zip(rows, texts, strict=True):
        for i in range(len(text) + 2):
            row[zlib.crc32(f"\t\t{text}\t\t"[i : i + 3].encode()) % 64] += 1
    return rows


def _instructed_cases(seed: int) -> list[Case]:
    found = data.retrieval()
    draw = np.random.default_rng(seed)
    queries = [str(text) for text in draw.choice(list(found.queries.values()), 3, replace=False)]
    documents = [str(text) for text in draw.choice(list(found.corpus.values()), 5, replace=False)]
    task = "Given a question, find other questions that ask the same"
    return [(characters, queries, documents, task, family) for family in FORMS]


def _judge_instructed(cases: Sequence[Case], values: Sequence[Any]) -> str | None:
    pairs = []
    for case, value in zip(cases, values, strict=True):
        if not isinstance(value, tuple | list) or len(value) != 2:
            return f"it returns {type(value).__name__}; return two arrays, the queries' vectors and the documents'."
        right, got = instructed(*case), [np.asarray(side, dtype=float) for side in value]
        if got[0].shape == right[1].shape and got[1].shape == right[0].shape:
            return "the documents come first; return the queries' vectors, then the documents'."
        for side, have, want in zip(("queries", "documents"), got, right, strict=True):
            if have.shape != want.shape:
                return f"the {side} have the shape {have.shape}, and it should be {want.shape}: one row a text."
        pairs.append((case, right, got))
    for case, right, got in pairs:
        for problem in (_documents_wrong(case, right[1], got[1]), _queries_wrong(case, right[0], got[0])):
            if problem:
                return problem
    return None


def _documents_wrong(case: Case, right: Floats, got: Floats) -> str | None:
    encode, _, documents, task, family = case
    rows = np.array([np.allclose(*both, atol=1e-5) for both in zip(right, got, strict=True)])
    if rows.all():
        return None
    told = f"{(~rows).sum()} of {len(rows)} documents aren't the vectors of the bare documents"
    before = FORMS[family].replace("{task}", task)
    if np.allclose(got, encode([before + text for text in documents]), atol=1e-5):
        return f"{told}: the instruction stands before them too. Only queries are instructed."
    return f"{told}; encode them as they are."


def _queries_wrong(case: Case, right: Floats, got: Floats) -> str | None:
    encode, queries, _, task, family = case
    if np.allclose(right, got, atol=1e-5):
        return None
    mistakes: dict[str, Callable[[str], str]] = {
        "no instruction went in": lambda q: q,
        "the placeholder {{task}} was left in": lambda q: FORMS[family] + q,
        "there is one space too many after 'Query:' for {family}": lambda q: f"Instruct: {task}\nQuery: {q}",
        "the space after 'Query:' is missing for {family}": lambda q: f"Instruct: {task}\nQuery:{q}",
        "the line break is a space": lambda q: f"Instruct: {task} " + FORMS[family].split("\n")[1] + q,
        "the line break is a backslash and an n": lambda q: f"Instruct: {task}\\n" + FORMS[family].split("\n")[1] + q,
        "the word 'Instruct: ' is missing": lambda q: f"{task}\n" + FORMS[family].split("\n")[1] + q,
        "the instruction stands behind the query": lambda q: q + FORMS[family].replace("{task}", task),
        "the line with 'Query:' is missing": lambda q: f"Instruct: {task}\n{q}",
    }
    for sentence, form in mistakes.items():
        if np.allclose(got, encode([form(query) for query in queries]), atol=1e-5):
            return f"{sentence.format(family=family)}: the {family} form is {FORMS[family]!r}, then the query."
    far = f"the queries' vectors are off by up to {np.abs(right - got).max():.2f}"
    return f"{far}; encode {FORMS[family]!r} with the task in it, then the query."


def visible(attention_mask: torch.Tensor, causal: bool) -> torch.Tensor:
    """Reference: who may look at whom; real tokens only, and with `causal` nothing later than oneself."""
    keys = attention_mask.bool().unsqueeze(1)
    tokens = attention_mask.shape[1]
    looks = torch.ones(tokens, tokens, dtype=torch.bool)
    return keys & (looks.tril() if causal else looks)


def _mask_cases(seed: int) -> list[Case]:
    draw = torch.Generator().manual_seed(seed)
    cases: list[Case] = []
    for tokens, left in ((6, False), (7, True)):
        lengths = torch.randint(3, tokens, (3,), generator=draw)
        lengths[0] = tokens
        mask = (torch.arange(tokens) < lengths.unsqueeze(1)).long()
        cases += [(mask.flip(1) if left else mask, causal) for causal in (True, False)]
    return cases


def _judge_mask(cases: Sequence[Case], values: Sequence[Any]) -> str | None:
    seen = []
    for (mask, causal), value in zip(cases, values, strict=True):
        got, want = torch.as_tensor(value), visible(mask, causal)
        if got.ndim == 4 and got.shape[1] == 1:
            got = got[:, 0]
        if got.shape != want.shape:
            return (
                f"the shape is {tuple(got.shape)}, and it should be {tuple(want.shape)}: (texts, looking, looked at)."
            )
        if got.is_floating_point() and bool((got <= 0).all()) and bool((got < -1e3).any()):
            return "that is an additive mask, 0 where allowed and hugely negative elsewhere; return True and False."
        if not bool(((got == 0) | (got == 1)).all()):
            return f"it holds {float(got.flatten()[0]):.2f}; return True where a token may look, False where not."
        seen.append((mask, causal, got.bool(), want))

    return _told_mask(seen)


def _told_mask(seen: list[tuple[torch.Tensor, bool, torch.Tensor, torch.Tensor]]) -> str | None:
    """What is wrong with masks of the right shape and kind, given as (attention mask, causal, got, wanted)."""

    def agrees(make: Callable[[torch.Tensor, bool], torch.Tensor]) -> bool:
        """Whether the real tokens' rows are those of this mask; what padding looks at is nobody's concern."""
        return all(torch.equal(g[m.bool()], make(m, c)[m.bool()]) for m, c, g, _ in seen)

    if agrees(visible):
        return None
    mask, causal, got, want = next(s for s in seen if not torch.equal(s[2][s[0].bool()], s[3][s[0].bool()]))
    wrong = int((got != want)[mask.bool()].sum())
    told = f"{wrong} of {int(mask.sum()) * mask.shape[1]} places are wrong with causal={causal}"

    def ones(m: torch.Tensor) -> torch.Tensor:
        return torch.ones(len(m), m.shape[1], m.shape[1], dtype=torch.bool)

    mistakes: dict[str, Callable[[torch.Tensor, bool], torch.Tensor]] = {
        "padding can be looked at; switch off its columns": lambda m, c: ones(m).tril() if c else ones(m),
        "it looks ahead instead of back; take the lower triangle (tril)": (
            lambda m, c: (ones(m).triu() if c else ones(m)) & m.bool().unsqueeze(1)
        ),
        "no token sees itself; the diagonal belongs in": (
            lambda m, c: (ones(m).tril(-1) if c else ones(m)) & m.bool().unsqueeze(1)
        ),
        "True and False are swapped; True means that a token may look": lambda m, c: ~visible(m, c),
        "the future is visible although causal=True": lambda m, c: visible(m, False),
        "it is causal although causal=False": lambda m, c: visible(m, True),
    }
    if all(torch.equal(g, (ones(m).tril() if c else ones(m)) & m.bool().unsqueeze(2)) for m, c, g, _ in seen):
        return f"padding's rows are switched off instead of its columns; nobody may look at padding: {told}."
    for sentence, make in mistakes.items():
        if agrees(make):
            return f"{sentence}: {told}."
    return f"{told}. A token may look at every real token, and with causal=True at none behind its own place."


def is_causal(hidden_states: States, vocab_size: int) -> bool:
    """Reference: change the last token, and see whether any earlier state moves."""
    ids = torch.arange(1, 9) % vocab_size
    other = ids.clone()
    other[-1] = 0
    states = hidden_states(torch.stack([ids, other]))
    return bool((states[0, :-1] - states[1, :-1]).abs().max() < 1e-4)


VOCABULARY = 50


def _mixer(seed: int, sees: Callable[[torch.Tensor], torch.Tensor], noise: float = 0.0) -> States:
    """A toy model: token vectors mixed by a matrix of weights that `sees` makes of the distance key - query."""
    draw = torch.Generator().manual_seed(seed)
    table = torch.randn(VOCABULARY, 16, generator=draw)

    def hidden_states(ids: torch.Tensor) -> torch.Tensor:
        places = torch.arange(ids.shape[1])
        mix = sees(places.unsqueeze(0) - places.unsqueeze(1)).float()
        states = mix @ table[ids.long()] / mix.sum(dim=1, keepdim=True)
        return states + noise * (2 * torch.rand(states.shape, generator=draw) - 1)

    return hidden_states


KINDS: dict[str, tuple[bool, Callable[[torch.Tensor], torch.Tensor], float]] = {
    "causal": (True, lambda d: d <= 0, 0.0),
    "bidirectional": (False, torch.ones_like, 0.0),
    "causal with rounding": (True, lambda d: d <= 0, 1e-6),
    "no attention": (True, lambda d: d == 0, 0.0),
    "local": (False, lambda d: d.abs() <= 1, 0.0),
    "faint": (False, lambda d: torch.where(d > 0, 5e-3, 1.0), 0.0),
}


def _causal_cases(seed: int) -> list[Case]:
    return [(_mixer(seed + i, sees, noise), VOCABULARY) for i, (_, sees, noise) in enumerate(KINDS.values())]


def _judge_causal(cases: Sequence[Case], values: Sequence[Any]) -> str | None:
    got = []
    for value in values:
        answer = np.asarray(value)
        if answer.dtype != bool or answer.size != 1:
            return f"it returns {type(value).__name__}; return True or False."
        got.append(bool(answer.all()))
    right = dict(zip(KINDS, (kind[0] for kind in KINDS.values()), strict=True))
    said = dict(zip(KINDS, got, strict=True))
    if said == right:
        return None
    wrong = [name for name in KINDS if said[name] != right[name]]
    told = f"{len(wrong)} of {len(KINDS)} models are misjudged ({', '.join(wrong)})"
    mistakes = {
        "it says the opposite each time": {name: not answer for name, answer in right.items()},
        "it never says True; the changed token's own state always moves, so leave it out": dict.fromkeys(KINDS, False),
        "it always says True; does anything change between your two inputs": dict.fromkeys(KINDS, True),
        "that is whether a later state feels an earlier token; turn it round and change the last token": {
            name: name == "no attention" for name in KINDS
        },
        "two runs of one model differ by rounding; allow a difference of 1e-5": right | {"causal with rounding": False},
        "the tolerance swallows a faint influence; real ones are above 1e-3": right | {"faint": True},
        "in the local model only neighbours feel each other; look at every earlier state, not the first alone": (
            right | {"local": True}
        ),
    }
    for sentence, answers in mistakes.items():
        if said == answers:
            return f"{sentence}: {told}."
    return f"{told}. Change the last token only, and compare the states of all earlier tokens."


TASKS = {
    task.id: task
    for task in (
        Task("05.1", _score_cases, _judge_score),
        Task("05.2", _instructed_cases, _judge_instructed),
        Task("05.3", _mask_cases, _judge_mask),
        Task("05.4", _causal_cases, _judge_causal),
    )
}
