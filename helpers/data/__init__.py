"""Data to judge a model on: the course's own sets, and readers for the reader's own."""

from helpers.data.course import DATASETS, long_documents, pairs, parallel, read, read_beir, retrieval, texts
from helpers.data.dataset import Dataset, LongDocuments, Pairs, Retrieval
from helpers.data.drawn import limited
from helpers.data.labelled import read_pairs
from helpers.data.mined import docstrings

__all__ = [
    "DATASETS",
    "Dataset",
    "LongDocuments",
    "Pairs",
    "Retrieval",
    "docstrings",
    "limited",
    "long_documents",
    "pairs",
    "parallel",
    "read",
    "read_beir",
    "read_pairs",
    "retrieval",
    "texts",
]
