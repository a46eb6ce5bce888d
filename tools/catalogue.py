"""What mteb knows of models beside the catalogue's own rows: the families' other members and other kinds of model.

    python -m tools.catalogue              write helpers/facts/kinds.csv anew; a test holds it to the installed mteb
    python -m tools.catalogue --new DATE   print what mteb has of these families since a date (nightly)

`helpers/facts/models.csv` has the models that a lesson looks into, each fact with its source. This table has one
source for everything, mteb's metadata, so nothing in it is typed by hand but the names below.
"""

import csv
import re
import sys
from collections.abc import Iterator
from typing import Any

from helpers import catalog

FILE = catalog.FACTS / "kinds.csv"
COLUMNS = (
    "hub_id",
    "kind",
    "modalities",
    "dims",
    "max_tokens",
    "params_total",
    "languages",
    "license",
    "released",
    "revision",
)
MEMBERS = [
    "BAAI/bge-small-zh-v1.5",
    "BAAI/bge-base-zh-v1.5",
    "BAAI/bge-large-zh-v1.5",
    "BAAI/bge-en-icl",
    "BAAI/bge-multilingual-gemma2",
    "BAAI/bge-reranker-v2-m3",
    "BAAI/BGE-VL-base",
    "nomic-ai/nomic-embed-code",
    "nomic-ai/nomic-embed-vision-v1.5",
    "Alibaba-NLP/UEmbed-2B",
    "Alibaba-NLP/UEmbed-4B",
    "Alibaba-NLP/UEmbed-9B",
    "Alibaba-NLP/gme-Qwen2-VL-2B-Instruct",
    "codefuse-ai/F2LLM-v2-160M",
    "codefuse-ai/F2LLM-v2-1.7B",
    "codefuse-ai/F2LLM-v2-8B",
    "codefuse-ai/F2LLM-v2-14B",
    "BidirLM/BidirLM-0.6B-Embedding",
    "BidirLM/BidirLM-1B-Embedding",
    "BidirLM/BidirLM-Omni-2.5B-Embedding",
    "nvidia/Nemotron-3.5-Embed-8B-BF16",
    "Qwen/Qwen3-VL-Embedding-2B",
    "Qwen/Qwen3-VL-Embedding-8B",
    "jinaai/jina-embeddings-v5-omni-nano",
    "jinaai/jina-embeddings-v5-omni-small",
    "lightonai/LateOn",
    "lightonai/mLateOn",
    "lightonai/GTE-ModernColBERT-v1",
    "mixedbread-ai/mxbai-edge-colbert-v0-17m",
    "mixedbread-ai/mxbai-edge-colbert-v0-32m",
    "jinaai/jina-colbert-v2",
    "naver/splade-v3",
    "naver/splade-code-06B",
    "lightonai/SlideOn",
    "cross-encoder/ettin-reranker-17m-v1",
    "cross-encoder/ettin-reranker-32m-v1",
    "cross-encoder/ettin-reranker-150m-v1",
    "cross-encoder/ms-marco-MiniLM-L6-v2",
    "Qwen/Qwen3-Reranker-0.6B",
    "jinaai/jina-reranker-v3.5",
]
FAMILIES = re.compile(
    r"(BAAI|nomic-ai|intfloat|Alibaba-NLP|sentence-transformers|lightonai|mixedbread-ai|codefuse-ai|BidirLM|ibm-granite"
    r"|jinaai|microsoft/harrier|google/embeddinggemma|Qwen/Qwen3-[\w-]*(Embedding|Reranker)|KaLM|cross-encoder|naver)"
)
KINDS = {"cross-encoder": "reranker", "late-interaction": "late interaction", "dense+sparse": "dense+sparse"}


def row(meta: Any) -> dict[str, Any]:
    """A model's row from mteb's metadata; what it doesn't say stays empty."""
    kind = "+".join(meta.model_type)
    dims = max(meta.embed_dim) if isinstance(meta.embed_dim, list) else meta.embed_dim
    return {
        "hub_id": meta.name,
        "kind": KINDS.get(kind, kind),
        "modalities": "+".join(sorted(meta.modalities)),
        "dims": "" if kind == "cross-encoder" else dims or "",  # a reranker gives a score and no vector
        "max_tokens": int(meta.max_tokens) if meta.max_tokens else "",
        "params_total": meta.n_parameters or "",
        "languages": len(meta.languages) if meta.languages else "",
        "license": meta.license or "",
        "released": str(meta.release_date or ""),
        "revision": meta.revision or "",
    }


def rows() -> list[dict[str, Any]]:
    """The rows of the table, in the order of the names above."""
    import mteb

    known = {meta.name: meta for meta in mteb.get_model_metas()}
    return [row(known[name]) for name in MEMBERS]


def new(since: str) -> Iterator[str]:
    """What mteb has of these families since a date, and the catalogue not, a line each."""
    import mteb

    have = {card.hub_id for card in catalog.cards()} | set(MEMBERS)
    for meta in sorted(mteb.get_model_metas(open_weights=True), key=lambda meta: str(meta.release_date)):
        made = row(meta)
        if FAMILIES.match(made["hub_id"]) and meta.name not in have and made["released"] > since:
            yield "  ".join(str(made[name]) for name in ("released", "hub_id", "kind", "modalities", "params_total"))


def main(arguments: list[str]) -> None:
    """Write the table, or print what is new."""
    if arguments[:1] == ["--new"]:
        print("\n".join(new(arguments[1])) or "nothing new")
        return
    with FILE.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows())


if __name__ == "__main__":
    main(sys.argv[1:])
