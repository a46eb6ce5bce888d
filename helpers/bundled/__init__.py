"""Real models that need no hub: all-MiniLM-L6-v2 from its PyPI package, and four made from less.

Three are derived from MiniLM by published techniques, one is lexical; all are plain `SentenceTransformer` objects with
real quality and real speed. What takes longer than a blink to build is built once and kept in the user's cache folder.
Choosing a source is left to `models`.
"""

from helpers.bundled.builders import MINILM, MODELS, Bundled, int8, minilm, minilm_folder, pca, static, tfidf
from helpers.bundled.cache import MINILM_SHA256, cached, kept, quiet
from helpers.bundled.runtime import RuntimeTransformer
from helpers.files import CACHE_VARIABLE, cache_folder

__all__ = [
    "CACHE_VARIABLE",
    "MINILM",
    "MINILM_SHA256",
    "MODELS",
    "Bundled",
    "RuntimeTransformer",
    "cache_folder",
    "cached",
    "int8",
    "kept",
    "minilm",
    "minilm_folder",
    "pca",
    "quiet",
    "static",
    "tfidf",
]
