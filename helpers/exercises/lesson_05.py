"""Exercise 05: one score, two instruction forms, attention masks, and a detector of the silent failure."""

import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from helpers import data
from helpers.checks.judges import ByReference, Decisions, MalformedError, Number, Places, Vectors
from helpers.checks.tasks import Case, Task

Floats = NDArray[np.float64]
Encode = Callable[[list[str]], Floats]
States = Callable[[torch.Tensor], torch.Tensor]
length = np.linalg.norm


# 05.1


def similarity_score(a: Floats, b: Floats) -> float:
    """Reference: the cosine of two vectors, as a number."""
    return float(a @ b / length(a) / length(b))


def _score_cases(seed: int) -> list[Case]:
    draw = np.random.default_rng(seed)
    cases: list[Case] = []
    for sign in (1, -1, 1):
        a = draw.normal(size=24)
        b = sign * 0.8 * a + draw.normal(size=24)
        cases.append((a * draw.uniform(1.5, 4), b * draw.uniform(1.5, 4)))
    return cases


class LoggedNumber(Number):
    """A float of Python or NumPy, which any log or JSON takes."""

    def read(self, value: Any, right: Any) -> float | None:
        """A number; MalformedError for an array, a tensor or a text."""
        if isinstance(value, str):
            raise MalformedError(
                f"it returns the text {value!r}; return the number and leave the formatting to whoever prints it."
            )
        if not isinstance(value, float | np.floating):
            shape = f" of shape {tuple(value.shape)}" if hasattr(value, "shape") else ""
            raise MalformedError(
                f"it returns {type(value).__name__}{shape}, which f'{{x:.4f}}' or json may refuse; use .item()."
            )
        return super().read(value, right)


SCORE = ByReference(
    similarity_score,
    LoggedNumber(atol=1e-4, show=".3f"),
    "Divide the dot product by the product of the two lengths.",
    mistakes={
        "that is the dot product, which grows with the vectors' lengths; divide by both lengths": lambda a, b: a @ b,
        "only one of the two lengths is divided out, the first vector's; divide by both": lambda a, b: (
            a @ b / length(a)
        ),
        "only one of the two lengths is divided out, the second vector's; divide by both": lambda a, b: (
            a @ b / length(b)
        ),
        "that is a cosine distance, 1 minus the similarity": lambda a, b: 1 - similarity_score(a, b),
        "that is a Euclidean distance; cosine looks at directions only": lambda a, b: length(a - b),
        "the sign is lost; vectors that point apart have a negative cosine, so keep it": lambda a, b: abs(
            similarity_score(a, b)
        ),
        "that is (1 + cosine) / 2, a cosine squeezed into 0 to 1; return the cosine itself": lambda a, b: (
            (1 + similarity_score(a, b)) / 2
        ),
    },
)


# 05.2


FORMS = {"gte-Qwen2": "Instruct: {task}\nQuery: {query}", "Qwen3": "Instruct: {task}\nQuery:{query}"}


def instructed(
    encode: Encode,
    queries: list[str],
    documents: list[str],
    task: str,
    family: str,
    *,
    altered: Callable[[str], str] = lambda form: form,
    document_form: Callable[[str], str] = lambda form: "{query}",
) -> tuple[Floats, Floats]:
    """Reference: query vectors with the family's instruction before each query, document vectors without."""

    def written(form: str, texts: list[str]) -> list[str]:
        return [form.format(task=task, query=text) for text in texts]

    return encode(written(altered(FORMS[family]), queries)), encode(written(document_form(FORMS[family]), documents))


def characters(texts: list[str]) -> Floats:
    """A toy encoder that sees every character: hashed triples of characters, counted; (texts, 64)."""
    rows = np.zeros((len(texts), 64))
    for row, text in zip(rows, texts, strict=True):
        for i in range(len(text) + 2):
            row[zlib.crc32(f"\t\t{text}\t\t"[i : i + 3].encode()) % 64] += 1
    return rows


def _instructed_cases(seed: int) -> list[Case]:
    texts = data.retrieval()
    draw = np.random.default_rng(seed)
    queries = [str(text) for text in draw.choice(list(texts.queries.values()), 3, replace=False)]
    documents = [str(text) for text in draw.choice(list(texts.corpus.values()), 5, replace=False)]
    task = "Given a question, find other questions that ask the same"
    return [(characters, queries, documents, task, family) for family in FORMS]


INSTRUCTIONS = ByReference(
    instructed,
    Places(("the queries' array", "the documents' array"), Vectors("one row a text, the queries before the documents")),
    "Encode the form with the task in it, then the query; documents as they are.",
    about=lambda encode, queries, documents, task, family: (
        f" (the {family} form is {FORMS[family].removesuffix('{query}')!r}, then the query)"
    ),
    mistakes={
        "the instruction stands before the documents too; only queries are instructed": {
            "document_form": lambda form: form
        },
        "no instruction went in": {"altered": lambda form: "{query}"},
        "the placeholder {task} was left in": {"altered": lambda form: form.replace("{task}", "{{task}}")},
        "there is one space too many after 'Query:'": {"altered": lambda form: FORMS["gte-Qwen2"]},
        "the space after 'Query:' is missing": {"altered": lambda form: FORMS["Qwen3"]},
        "the line break is a space": {"altered": lambda form: form.replace("\n", " ")},
        "the line break is a backslash and an n": {"altered": lambda form: form.replace("\n", "\\n")},
        "the word 'Instruct: ' is missing": {"altered": lambda form: form.removeprefix("Instruct: ")},
        "the instruction stands behind the query": {"altered": lambda form: "{query}" + form.replace("{query}", "")},
        "the line with 'Query:' is missing": {"altered": lambda form: "Instruct: {task}\n{query}"},
    },
)


# 05.3


def visible(
    attention_mask: torch.Tensor,
    causal: bool,
    *,
    rule: Callable[[torch.Tensor], torch.Tensor] = torch.tril,
    keys: Callable[[torch.Tensor], torch.Tensor] = lambda mask: mask.bool(),
) -> torch.Tensor:
    """Reference: who may look at whom; real tokens only, and with `causal` nothing later than oneself."""
    tokens = attention_mask.shape[1]
    looks = torch.ones(tokens, tokens, dtype=torch.bool)
    return keys(attention_mask).unsqueeze(1) & (rule(looks) if causal else looks)


def _mask_cases(seed: int) -> list[Case]:
    draw = torch.Generator().manual_seed(seed)
    cases: list[Case] = []
    for tokens, left in ((6, False), (7, True)):
        lengths = torch.randint(3, tokens, (3,), generator=draw)
        lengths[0] = tokens
        mask = (torch.arange(tokens) < lengths.unsqueeze(1)).long()
        cases += [(mask.flip(1) if left else mask, causal) for causal in (True, False)]
    return cases


class Mask(Decisions):
    """An attention mask of True and False, perhaps with the axis of the heads."""

    def read(self, value: Any, right: Any) -> NDArray[np.bool_]:
        """(texts, tokens, tokens); MalformedError for an additive mask."""
        got = torch.as_tensor(value)
        if got.ndim == 4 and got.shape[1] == 1:
            got = got[:, 0]
        if got.is_floating_point() and bool((got <= 0).all()) and bool((got < -1e3).any()):
            raise MalformedError(
                "that is an additive mask, 0 where allowed and hugely negative elsewhere; return True and False."
            )
        return super().read(got, right)


MASK = ByReference(
    visible,
    Mask("places are wrong", "(texts, looking, looked at), True where a token may look and False where not"),
    "A token may look at every real token, and with causal=True at none behind its own place.",
    about=lambda mask, causal: f" with causal={causal}",
    judged=lambda looks, mask, causal: looks[np.asarray(mask) == 1],  # what padding looks at is nobody's concern
    mistakes={
        "padding can be looked at; switch off its columns, not its rows": {"keys": torch.ones_like},
        "it looks ahead instead of back; take the lower triangle (tril)": {"rule": torch.triu},
        "no token sees itself; the diagonal belongs in": {"rule": lambda looks: looks.tril(-1)},
        "True and False are swapped; True means that a token may look": lambda m, c: ~visible(m, c),
        "the future is visible although causal=True": lambda m, c: visible(m, False),
        "it is causal although causal=False": lambda m, c: visible(m, True),
    },
)


# 05.4


def is_causal(
    hidden_states: States,
    vocab_size: int,
    *,
    changed: int = -1,
    compared: slice = slice(-1),
    tolerance: float = 1e-4,
) -> bool:
    """Reference: change the last token, and see whether any earlier state moves."""
    ids = torch.arange(1, 9) % vocab_size
    other = ids.clone()
    other[changed] = 0
    states = hidden_states(torch.stack([ids, other]))
    return bool((states[0, compared] - states[1, compared]).abs().max() <= tolerance)


VOCABULARY = 50


def _mixer(kind: str, sees: Callable[[torch.Tensor], torch.Tensor], noise: float, seed: int) -> States:
    """A toy model: token vectors mixed by a matrix of weights that `sees` makes of the distance key - query."""
    draw = torch.Generator().manual_seed(seed)
    table = torch.randn(VOCABULARY, 16, generator=draw)

    def hidden_states(ids: torch.Tensor) -> torch.Tensor:
        places = torch.arange(ids.shape[1])
        mix = sees(places.unsqueeze(0) - places.unsqueeze(1)).float()
        states = mix @ table[ids.long()] / mix.sum(dim=1, keepdim=True)
        return states + noise * (2 * torch.rand(states.shape, generator=draw) - 1)

    hidden_states.__name__ = kind
    return hidden_states


def _causal_cases(seed: int) -> list[Case]:
    kinds: list[tuple[str, Callable[[torch.Tensor], torch.Tensor], float]] = [
        ("causal", lambda d: d <= 0, 0.0),
        ("bidirectional", torch.ones_like, 0.0),
        ("causal with rounding", lambda d: d <= 0, 1e-6),
        ("no attention", lambda d: d == 0, 0.0),
        ("local", lambda d: d.abs() <= 1, 0.0),
        ("faint", lambda d: torch.where(d > 0, 5e-3, 1.0), 0.0),
    ]
    draw = np.random.default_rng(seed)  # also of the order, which else would be the answer
    order = draw.permutation([*range(len(kinds)), *draw.integers(len(kinds), size=4)])
    return [(_mixer(*kinds[int(kind)], seed + i), VOCABULARY) for i, kind in enumerate(order)]


CAUSAL = ByReference(
    is_causal,
    Decisions(),
    "Change the last token only, and compare the states of all earlier tokens.",
    about=lambda states, size: f" for the toy model '{states.__name__}'",
    mistakes={  # those that err for few models come first
        "two runs of one model differ by rounding; allow a difference of 1e-5": {"tolerance": 0.0},
        "the tolerance swallows a faint influence; real ones are above 1e-3": {"tolerance": 5e-2},
        "in the local model only neighbours feel each other; look at every earlier state, not the first alone": {
            "compared": slice(1)
        },
        "that is whether a later state feels an earlier token; turn it round and change the last token": {
            "changed": 0,
            "compared": slice(1, None),
        },
        "it says False of causal models; the changed token's own state always moves, so leave it out": {
            "compared": slice(None)
        },
        "it says True of models that look ahead; does anything change between your two inputs": lambda states, size: (
            True
        ),
        "it says the opposite, of causal models and of others": lambda states, size: not is_causal(states, size),
    },
)


TASKS = {
    task.id: task
    for task in (
        Task("05.1", _score_cases, SCORE),
        Task("05.2", _instructed_cases, INSTRUCTIONS),
        Task("05.3", _mask_cases, MASK),
        Task("05.4", _causal_cases, CAUSAL),
    )
}
