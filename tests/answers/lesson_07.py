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


def only_known(texts: Any, vocabulary: Any, table: Any, weights: Any) -> Any:
    some = [tokens for tokens in texts if any(token in vocabulary for token in tokens)]
    return counts(some, vocabulary, table, weights)


def with_pandas(models: Any, tasks: int) -> Any:
    frame = pd.DataFrame(models)
    frame = frame[frame.tasks_run == tasks].dropna(subset=["score", "parameters"])
    frame = frame.sort_values(["parameters", "score"], ascending=[True, False], kind="stable")
    best = frame.groupby("parameters").score.transform("max")
    smaller = frame.score.cummax().where(~frame.parameters.duplicated(keep="last")).shift().ffill().fillna(-np.inf)
    before = smaller.groupby(frame.parameters).transform("first")
    return frame.index[(frame.score == best) & (frame.score > before)].to_numpy()


def swept(models: Any, tasks: int) -> tuple[int, ...]:
    """By size and falling score, keeping each that is better than all before, and its equals."""
    ranked = [i for i, m in enumerate(models) if m["tasks_run"] == tasks and None not in m.values()]
    best, size, front = -1.0, -1, []
    for i in sorted(ranked, key=lambda i: (models[i]["parameters"], -models[i]["score"], i)):
        m = models[i]
        if m["score"] > best or (m["score"] == best and m["parameters"] == size):
            best, size = m["score"], m["parameters"]
            front.append(i)
    return tuple(front)


def where(keep: Any) -> Any:
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


def fair_sets(one: Any, other: Any, tasks: Any) -> dict[str, np.float32]:
    done = [{b for b, (score, run) in runs.items() if score is not None and run == tasks[b]} for runs in (one, other)]
    return {b: np.float32(one[b][0] - other[b][0]) for b in done[0] & done[1]}


MISTAKES: dict[str, dict[str, Any]] = {
    "07.1": {
        "zeros for a text without": only_known,
        "Look up, weight, average": lambda t, v, table, weights: counts(t, v, table, 1 / weights),
    },
    "07.2": {
        "in another order": lambda *case: [*swept(*case)[1:], swept(*case)[0]],
        "is missing. Leave out whoever": lambda *case: swept(*case)[1:],
        "list of whole numbers": lambda models, tasks: [m["tasks_run"] == tasks for m in models],
    },
    "07.3": {
        "every known licence": where(lambda m, t: good(m, t, "license") and m["license"] is not None),
        "belong there. Write each": where(lambda m, t: good(m, t, "license") and m["license"] in ("gemma", *OPEN)),
        "is let in, and an unknown": where(lambda m, t: good(m, t, "license") and m["license"] != "cc-by-nc-4.0"),
        "isn't looked at": where(lambda m, t: good(m, t, "code")),
        "None isn't False": where(lambda m, t: good(m, t, "code") and not m["trust_remote_code"]),
        "that need remote code": where(lambda m, t: good(m, t, "code") and m["trust_remote_code"] is not None),
        "an unknown context": where(
            lambda m, t: good(m, t, "max_tokens") and (m["max_tokens"] is None or m["max_tokens"] >= t)
        ),
        "exactly": where(lambda m, t: good(m, t) and m["max_tokens"] > t),
        "mit is missing": where(lambda m, t: good(m, t) and m["license"] == "apache-2.0"),
        "in another order": lambda *case: shortlist_with_pandas(*case)[::-1],
    },
    "07.4": {
        "MTEB doesn't belong there": best_of_each,
        "is missing, with runs": lambda *case: dict(list(fair_sets(*case).items())[1:]),
        "return a dict": lambda *case: sum(fair_sets(*case).values()),
    },
}

RIGHT: dict[str, list[Any]] = {
    "07.1": [seven.static_embeddings, bag, counts],
    "07.2": [seven.pareto_front, with_pandas, swept],
    "07.3": [seven.shortlist, shortlist_with_pandas, where(good)],
    "07.4": [seven.fair_differences, fair_sets],
}
