"""A corpus that every install already has: docstrings of pinned packages, summary line against the rest.

They are read by `ast`, so nothing of theirs is imported or run; by count that gives more pairs than importing does.
Built once in under a minute and kept in the cache under a fingerprint of the packages' versions and this recipe.
Near-duplicates (transformers copies docstrings from model to model) are dropped by the Jaccard similarity of word
5-grams, found by scikit-learn's HashingVectorizer and an exact sparse product.
"""

import ast
import gzip
import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path
from typing import Any

from filelock import FileLock

from helpers import files
from helpers.data.dataset import Retrieval
from helpers.errors import CourseError

RECIPE = 1
# Parts are whole packages, so that nothing of a package that is trained on is judged on.
PARTS = {"train": ("torch", "transformers"), "dev": ("scipy",), "test": ("sklearn",)}
DISTRIBUTIONS = {"sklearn": "scikit-learn"}
NEAR = 0.5  # Jaccard similarity of word 5-grams, from which on two texts are near-duplicates
FEWEST_QUERY_WORDS, MOST_QUERY_WORDS = 4, 40
FEWEST_WORDS, MOST_WORDS = 20, 300  # of a document; the rest is cut, since most models read no further
BLOCK = 2048


@dataclass(frozen=True)
class Docstrings(Retrieval):
    """A retrieval set of docstrings: a summary line asks for the rest of its docstring.

    `package` maps a document id to its package; `dropped` counts what was left out, by reason.
    """

    package: dict[str, str]
    dropped: dict[str, int]


def versions() -> dict[str, str]:
    """The packages that are read, with their installed versions."""
    found = {}
    for package in sorted(name for part in PARTS.values() for name in part):
        try:
            found[package] = metadata.version(DISTRIBUTIONS.get(package, package))
        except metadata.PackageNotFoundError:
            raise CourseError(f"{package} isn't installed; install the course again, as the README has it.") from None
    return found


def fingerprint() -> str:
    """What the corpus depends on: the versions of its packages and the recipe; 12 hex digits."""
    content = json.dumps([RECIPE, NEAR, PARTS, versions()], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:12]


def docstrings(part: str = "all", limit: int | None = None) -> Docstrings:
    """The docstrings of torch, transformers, scipy and scikit-learn as a retrieval set.

    Args:
        part: "train" (torch, transformers), "dev" (scipy), "test" (scikit-learn), or "all".
        limit: so many of them, drawn evenly, each with its query; None for all.

    Raises:
        CourseError: there is no such part, a package is missing, or the cache folder can't be written.
    """
    if part not in (*PARTS, "all"):
        raise CourseError(f"There is no part {part!r} of the docstrings; it can be all, {', '.join(PARTS)}.")
    wanted = {package for name, packages in PARTS.items() if part in (name, "all") for package in packages}
    made = _kept()
    rows = [row for row in made["rows"] if row["package"] in wanted]
    if limit is not None:
        rows = rows[:: max(1, len(rows) // limit)][:limit]
    dropped = {key: count for key, count in made["dropped"].items() if key.partition(": ")[0] in wanted}
    return Docstrings(
        {row["id"]: row["document"] for row in rows},
        {f"{row['id']}?": row["query"] for row in rows},
        {f"{row['id']}?": {row["id"]: 1} for row in rows},
        {row["id"]: row["package"] for row in rows},
        dropped,
    )


def _kept() -> dict[str, Any]:
    """The corpus out of the cache; built where it isn't there, or isn't whole."""
    path = files.cache_folder() / f"docstrings-{fingerprint()}.json.gz"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock")):
            try:
                return dict(json.loads(gzip.decompress(path.read_bytes())))
            except (OSError, EOFError, ValueError):
                pass
            made = build()
            files.replace(path, gzip.compress(json.dumps(made).encode(), mtime=0))
            return made
    except OSError as error:
        raise CourseError(
            f"{path.parent}: the cache folder can't be written ({error.strerror}); "
            f"set {files.CACHE_VARIABLE} to a folder with 100 MB free."
        ) from error


def build() -> dict[str, Any]:
    """Read, clean and thin out the docstrings of every package; the same bytes from the same versions."""
    from tqdm.auto import tqdm

    rows: list[dict[str, str]] = []
    dropped: Counter[str] = Counter()
    for package in tqdm(versions(), desc="reading docstrings, once", unit="package"):
        found = list(_pairs(package))
        seen: set[str] = set()
        kept = []
        for row in found:
            query = " ".join(row["query"].casefold().split())
            if query in seen:
                dropped[f"{package}: the same summary"] += 1
            else:
                seen.add(query)
                kept.append(row)
        rows += kept
    keep = distinct([row["document"] for row in rows])
    for row, stays in zip(rows, keep, strict=True):
        dropped[f"{row['package']}: near-duplicate"] += not stays
    return {
        "rows": [row for row, stays in zip(rows, keep, strict=True) if stays],
        "dropped": dict(sorted(dropped.items())),
    }


def _pairs(package: str) -> Iterator[dict[str, str]]:
    """The docstrings of a package that have a summary and a rest, in order of path and line."""
    spec = util.find_spec(package)  # finds the top-level package without running it
    if spec is None or spec.origin is None:
        raise CourseError(f"{package} isn't installed; install the course again, as the README has it.")
    root = Path(spec.origin).parent
    for path in sorted(root.rglob("*.py")):
        inner = path.relative_to(root)
        if any(
            name in ("tests", "test", "testing") or name.startswith("_") for name in inner.with_suffix("").parts[:-1]
        ):
            continue
        try:
            tree = ast.parse(path.read_bytes())
        except (SyntaxError, ValueError):
            continue  # a template, or Python of another version
        module = ".".join((package, *inner.with_suffix("").parts))
        for name, node in _definitions(tree):
            text = ast.get_docstring(node)
            if text and (made := _cut(text)):
                yield {"id": f"{module}.{name}", "package": package, "query": made[0], "document": made[1]}


def _definitions(tree: ast.AST, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Functions and classes with their dotted names; those of a class, but not those in a function."""
    seen: Counter[str] = Counter()
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            seen[node.name] += 1
            name = prefix + node.name + (f"-{seen[node.name]}" if seen[node.name] > 1 else "")  # overloads
            yield name, node
            if isinstance(node, ast.ClassDef):
                yield from _definitions(node, f"{name}.")


def _cut(text: str) -> tuple[str, str] | None:
    """Summary and rest of a docstring; None where one of them says too little."""
    summary, _, rest = text.partition("\n\n")
    query, words = summary.split(), rest.split()
    if not FEWEST_QUERY_WORDS <= len(query) <= MOST_QUERY_WORDS or len(words) < FEWEST_WORDS:
        return None
    made = " ".join(query), " ".join(words[:MOST_WORDS])
    return None if any("\0" in side or not side.isprintable() for side in made) else made


def distinct(documents: list[str]) -> list[bool]:
    """For each document whether it stays: it does where none that stays before it is a near-duplicate."""
    import numpy as np
    from sklearn.feature_extraction.text import HashingVectorizer

    hashed = HashingVectorizer(
        analyzer="word",
        token_pattern=r"\w+",
        ngram_range=(5, 5),
        binary=True,
        norm=None,
        n_features=2**24,
        alternate_sign=False,
    )
    shingles = hashed.transform(documents)
    sizes = np.diff(shingles.indptr)
    stays = np.ones(len(documents), dtype=bool)
    turned = shingles.T.tocsr()
    for start in range(0, len(documents), BLOCK):
        shared = (shingles[start : start + BLOCK] @ turned).tocoo()
        rows, columns = shared.row + start, shared.col
        union = sizes[rows] + sizes[columns] - shared.data
        near = (columns < rows) & (shared.data >= NEAR * np.maximum(union, 1)) & (shared.data > 0)
        order = np.lexsort((columns[near], rows[near]))
        for row, column in zip(rows[near][order], columns[near][order], strict=True):
            if stays[column]:
                stays[row] = False
    return [bool(value) for value in stays]
