"""Data to judge a model on: the course's own sets, and readers for the reader's own."""

from helpers.data.course import DATASETS, long_documents, pairs, parallel, read, retrieval, texts
from helpers.data.dataset import Dataset, LongDocuments, Pairs, Retrieval
from helpers.data.formats import read_beir, read_pairs

__all__ = [
    "DATASETS",
    "Dataset",
    "LongDocuments",
    "Pairs",
    "Retrieval",
    "long_documents",
    "pairs",
    "parallel",
    "read",
    "read_beir",
    "read_pairs",
    "retrieval",
    "texts",
]
