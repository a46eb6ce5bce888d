"""Answers to exercise 02. `MISTAKES` maps a task to {part of the sentence it must get: answer}."""

from typing import Any

import numpy as np
import torch
from sentence_transformers.sentence_transformer.evaluation import BinaryClassificationEvaluator
from sentence_transformers.sentence_transformer.modules import Pooling
from sklearn.metrics import precision_recall_curve

from helpers.exercises import lesson_02 as two

normalize = torch.nn.functional.normalize


def by_library(t: torch.Tensor, m: torch.Tensor, pooling: str) -> torch.Tensor:
    module = Pooling(t.shape[-1], pooling_mode=pooling)
    vectors: torch.Tensor = module({"token_embeddings": t, "attention_mask": m})["sentence_embedding"]
    return vectors


def text_by_text(t: torch.Tensor, m: torch.Tensor, pooling: str) -> np.ndarray:
    rows = []
    for tokens, mask in zip(t.numpy(), m.numpy(), strict=True):
        real = tokens[mask == 1]
        row = {"cls": real[0], "mean": real.mean(axis=0), "max": real.max(axis=0)}[pooling]
        rows.append(row / np.linalg.norm(row))
    return np.stack(rows)


def one_by_one(model: Any, texts: list[str], roles: list[str]) -> np.ndarray:
    by_role = {"query": model.encode_query, "document": model.encode_document}
    return np.stack([by_role[role](text) for text, role in zip(texts, roles, strict=True)])


def in_two_calls(model: Any, texts: list[str], roles: list[str]) -> torch.Tensor:
    vectors = torch.empty(len(texts), 384)
    for role in ("query", "document"):
        places = [i for i, other in enumerate(roles) if other == role]
        vectors[places] = model.encode([texts[i] for i in places], prompt_name=role, convert_to_tensor=True)
    return vectors


def by_scikit(similarity: Any, label: Any) -> Any:
    precision, recall, thresholds = precision_recall_curve(label, similarity)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    return thresholds[f1[:-1].argmax()]


def by_evaluator(similarity: Any, label: Any) -> float:
    return float(BinaryClassificationEvaluator.find_best_f1_and_threshold(similarity, label, True)[3])


def evidence_by_numpy(t: torch.Tensor, m: torch.Tensor, e: torch.Tensor, over: Any = np.min) -> dict[str, Any]:
    unit = e.numpy() / np.linalg.norm(e.numpy(), axis=1, keepdims=True)
    return {p: over((text_by_text(t, m, p) * unit).sum(axis=1)) for p in ("max", "mean", "cls")}


MISTAKES: dict[str, dict[str, Any]] = {
    "02.1": {
        "aren't unit vectors": by_library,
        "the mean whatever": lambda t, m, p: text_by_text(t, m, "mean"),
        "the first token whatever": lambda t, m, p: text_by_text(t, m, "cls"),
        "before they were pooled": lambda t, m, p: normalize(by_library(normalize(t, dim=2), m, p), dim=1),
        "one vector a text": lambda t, m, p: normalize(t.mean(dim=2), dim=1),
    },
    "02.2": {
        "documents too": lambda model, t, r: model.encode_query(t),
        "queries too": lambda model, t, r: model.encode_document(t),
        "sides are exchanged": lambda model, t, r: one_by_one(
            model, t, ["query" if role == "document" else "document" for role in r]
        ),
        "keep the order of the texts": lambda model, t, r: np.concatenate(
            [
                model.encode_query([x for x, role in zip(t, r, strict=True) if role == "query"]),
                model.encode_document([x for x, role in zip(t, r, strict=True) if role == "document"]),
            ]
        ),
        "one row a text": lambda model, t, r: one_by_one(model, t, r)[:2],
    },
    "02.3": {
        "best accuracy": lambda s, y: BinaryClassificationEvaluator.find_best_acc_and_threshold(s, y, True)[1],
        "the best F1 itself": lambda s, y: BinaryClassificationEvaluator.find_best_f1_and_threshold(s, y, True)[0],
        "Try every similarity": lambda s, y: int(np.argmax(s)),
        "no finite number": lambda s, y: float("nan"),
    },
    "02.4": {
        "average over the texts": lambda t, m, e: evidence_by_numpy(t, m, e, np.mean),
        "highest over the texts": lambda t, m, e: evidence_by_numpy(t, m, e, np.max),
        "dot products": lambda t, m, e: {p: (by_library(t, m, p) * e).sum(dim=1).min().item() for p in two.POOLINGS},
        "a dict with the keys": lambda t, m, e: max(scores := evidence_by_numpy(t, m, e), key=lambda p: scores[p]),
    },
}

RIGHT: dict[str, list[Any]] = {
    "02.1": [
        two.pool,
        text_by_text,
        lambda t, m, p: normalize(by_library(t, m, p), dim=1).double(),
        lambda t, m, p: text_by_text(t, m, p).tolist(),
        lambda t, m, p: two.pool(t.half(), m, p),
        lambda t, m, p: two.pool(t.bfloat16(), m, p),
    ],
    "02.2": [two.embed, one_by_one, in_two_calls],
    "02.3": [two.calibrate_threshold, by_scikit, by_evaluator, lambda s, y: torch.tensor(by_evaluator(s, y))],
    "02.4": [two.pooling_evidence, evidence_by_numpy],
}
