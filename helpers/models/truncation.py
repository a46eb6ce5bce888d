"""Vectors cut to fewer dimensions as the model was trained to be cut (Matryoshka)."""

import numpy as np
from numpy.typing import NDArray

from helpers.catalog import Card


def truncate(vectors: NDArray[np.float32], dimensions: int, card: Card | None = None) -> NDArray[np.float32]:
    """The first dimensions of each vector, at unit length.

    Args:
        vectors: (n, d).
        dimensions: how many to keep, at most d.
        card: of the model; where its `truncation` says so, a layer norm comes first (Nomic's recipe).

    Returns:
        (n, dimensions).
    """
    if card and card.truncation == "layer norm first":
        vectors = vectors - vectors.mean(axis=1, keepdims=True)  # the scale goes with the length below
    vectors = vectors[:, :dimensions]
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(norms, 1e-12), np.float32)
