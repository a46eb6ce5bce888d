"""Answers to exercise 07. `MISTAKES` maps a task to {part of the sentence it must get: answer}."""

from typing import Any

import numpy as np
import pandas as pd
import torch

from helpers.exercises import lesson_07 as seven

OPEN = ("mit", "apache-2.0")


def bag(texts: Any, vocabulary: Any, table: Any, weights: Any) -> torch.Tensor:
    """By torch's EmbeddingBag, weights folded into the table."""
    folded = torch.from_numpy(table * weights[:, None])
    ids = [[vocabulary[t] for t in tokens if t in vocabulary] for tokens in texts]
    offsets = torch.tensor(np.cumsum([0, *map(len, ids[:-1])]))
    flat = torch.tensor([i for some in ids for i in some], dtype=torch.long)
    return torch.nn.functional.normalize(torch.nn.functional.embedding_bag(flat, folded, offsets), dim=1).float()


def counts(texts: Any, vocabulary: Any, table: Any, weights: Any) -> list[Any]:
    """As one matrix product of token counts; a sum points where the mean does."""
    matrix = np.zeros((len(texts), len(table)))
    for row, tokens in enumerate(texts):
        for token in tokens:
            if token in vocabulary:
                matrix[row, vocabulary[token]] += 1
    vectors = matrix @ (weights[:, None] * table)
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / np.where(length > 0, length, 1)).tolist()  # type: ignore[no-any-return]


def divides_by_zero(texts: Any, vocabulary: Any, table: Any, weights: Any) -> Any:
    vectors = seven._static(texts, vocabulary, table, weights, unit=False)
    with np.errstate(invalid="ignore"):
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def with_pandas(models: Any, tasks: int) -> Any:
    frame = pd.DataFrame(models)
    frame = frame[frame.tasks_run == tasks].dropna(subset=["score", "parameters"])
    frame = frame.sort_values(["parameters", "score"], ascending=[True, False], kind="stable")
    best = frame.groupby("parameters").score.transform("max")
    smaller = frame.score.cummax().where(~frame.parameters.duplicated(keep="last")).shift().ffill().fillna(-np.inf)
    before = smaller.groupby(frame.parameters).transform("first")
    return frame.index[(frame.score == best) & (frame.score > before)].to_numpy()


def swept(models: Any, tasks: int) -> tuple[int, ...]:
    ranked = sorted(seven._complete(models, tasks), key=lambda i: (models[i]["parameters"], -models[i]["score"], i))
    best, size, found = -1.0, -1, []
    for i in ranked:
        m = models[i]
        if m["score"] > best or (m["score"] == best and m["parameters"] == size):
            best, size = m["score"], m["parameters"]
            found.append(i)
    return tuple(found)


def front_mistake(part: str) -> Any:
    def answer(models: Any, tasks: int) -> list[int]:
        wrong = seven._front_mistakes(models, tasks)
        return next(numbers for sentence, numbers in wrong.items() if part in sentence)

    return answer


def chosen(keep: Any) -> Any:
    return lambda models, tokens: [i for i, m in enumerate(models) if keep(m, tokens)]


def good(m: Any, tokens: int, *but: str) -> bool:
    """The three conditions, without those named."""
    return (
        ("license" in but or m["license"] in OPEN)
        and ("max_tokens" in but or (m["max_tokens"] or 0) >= tokens)
        and ("code" in but or m["trust_remote_code"] is False)
    )


def shortlist_with_pandas(models: Any, tokens: int) -> Any:
    frame = pd.DataFrame(models)
    code = frame.trust_remote_code.map(lambda cell: cell is False)
    return np.flatnonzero(frame.license.isin(OPEN) & (frame.max_tokens >= tokens) & code)


def best_of_each(one: Any, other: Any, tasks: Any) -> dict[str, float]:
    """The best score of each, whatever the benchmark."""
    a, b = (max((s or 0 for s, _ in runs.values()), default=0.0) for runs in (one, other))
    return {"MTEB": a - b}


def one_number(one: Any, other: Any, tasks: Any) -> float:
    return float(sum(seven.fair_differences(one, other, tasks).values()))


def only_ones_run(one: Any, other: Any, tasks: Any) -> dict[str, float]:
    """Looks at the first model's number of tasks only."""
    return {
        b: one[b][0] - other[b][0]
        for b, full in tasks.items()
        if b in one and b in other and one[b][1] == full and one[b][0] and other[b][0]
    }


def fair_sets(one: Any, other: Any, tasks: Any) -> dict[str, np.float32]:
    done = [{b for b, (score, run) in runs.items() if score is not None and run == tasks[b]} for runs in (one, other)]
    return {b: np.float32(one[b][0] - other[b][0]) for b in done[0] & done[1]}


MISTAKES: dict[str, dict[str, Any]] = {
    "07.1": {
        "aren't normalised": lambda *case: seven._static(*case, unit=False),
        "weights are missing": lambda *case: seven._static(*case, weighted=False),
        "the table's first row": lambda *case: seven._static(*case, unknown=0),
        "the table's last row": lambda *case: seven._static(*case, unknown=-1),
        "counted once": lambda *case: seven._static(*case, once=True),
        "normalised first": lambda *case: seven._static(*case, unit_tokens=True),
        "becomes NaN": divides_by_zero,
        "gets no row": lambda *case: seven._static(*case, skip=True),
        "Look up, weight, average": lambda t, v, table, w: seven.static_embeddings(t, v, table, 1 / w),
    },
    "07.2": {
        part: front_mistake(part)
        for part in (
            "an incomplete run is ranked",
            "an unknown size is taken for 0",
            "an unknown score is taken for 0",
            "only one is kept",
            "a tie in one of the two",
            "beaten by its equal",
            "large counts as good",
            "every complete run is there",
            "the largest comes first",
        )
    }
    | {"in another order": lambda m, t: sorted(seven.pareto_front(m, t))},
    "07.3": {
        "an unknown licence": chosen(lambda m, t: good(m, t, "license") and m["license"] in (None, *OPEN)),
        "CC BY-NC forbids": chosen(lambda m, t: good(m, t, "license") and m["license"] is not None),
        "terms of its own": chosen(lambda m, t: good(m, t, "license") and m["license"] in ("gemma", *OPEN)),
        "None isn't False": chosen(lambda m, t: good(m, t, "code") and not m["trust_remote_code"]),
        "that need remote code": chosen(lambda m, t: good(m, t, "code") and m["trust_remote_code"] is not None),
        "an unknown context": chosen(
            lambda m, t: good(m, t, "max_tokens") and (m["max_tokens"] is None or m["max_tokens"] >= t)
        ),
        "exactly": chosen(lambda m, t: good(m, t) and m["max_tokens"] > t),
        "both mit and apache-2.0": chosen(lambda m, t: good(m, t) and m["license"] == "apache-2.0"),
        "in another order": lambda m, t: seven.shortlist(m, t)[::-1],
    },
    "07.4": {
        "a mean over some of the tasks": lambda *case: seven._differences(*case, whole=False),
        "other minus one": lambda *case: seven._differences(*case, sign=-1),
        "counts as 0": lambda *case: seven._differences(*case, fill=0.0),
        "the sign is lost": lambda *case: {b: abs(d) for b, d in seven.fair_differences(*case).items()},
        "no fair pair": only_ones_run,
        "return a dict": one_number,
    },
}

RIGHT: dict[str, list[Any]] = {
    "07.1": [seven.static_embeddings, bag, counts],
    "07.2": [seven.pareto_front, with_pandas, swept],
    "07.3": [seven.shortlist, shortlist_with_pandas, chosen(good)],
    "07.4": [seven.fair_differences, fair_sets],
}
