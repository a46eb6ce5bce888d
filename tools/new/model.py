"""A row of the catalogue, from what mteb says of a model; offline, since mteb carries its metadata with it.

What mteb doesn't say stays empty, which the catalogue reads as unknown. mteb's metadata are typed in by people and
may be wrong (its parameters are often rounded), so a row is a beginning: hold it against the model's own card.
"""

import csv
import io
from math import isfinite
from pathlib import Path
from typing import Any

import mteb

from helpers.errors import CourseError, nearest

BENCHMARKS = {"zero_shot_pct_eng_v2": "MTEB(eng, v2)", "zero_shot_pct_multilingual_v2": "MTEB(Multilingual, v2)"}
ROUNDED = 100_000  # a number of parameters that this divides was rounded


def add(name: str, root: Path) -> str:
    """Append a model's row to `helpers/facts/models.csv`; what it leaves open, in words.

    Args:
        name: its id on the hub, `org/name`.
        root: the repository.

    Raises:
        CourseError: the catalogue has it already, mteb doesn't know it, or its weights aren't open.
    """
    path = root / "helpers" / "facts" / "models.csv"
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        columns = list(reader.fieldnames or ())
        for number, known in enumerate(reader, start=2):
            if known["hub_id"].lower().split("/")[1] == name.lower().split("/")[-1]:
                raise CourseError(f"The catalogue has {known['hub_id']} in row {number} of {path.name}; edit that row.")
    new = row(name)
    line = io.StringIO()
    csv.DictWriter(line, columns, lineterminator="\n").writerow(new)
    with path.open("a", encoding="utf-8", newline="") as file:
        file.write(line.getvalue())
    empty = [column for column in columns if not new.get(column)]
    return (
        f"{path.relative_to(root)} ends with {new['hub_id']}, from the metadata of mteb {mteb.__version__}.\n"
        f"Empty, so unknown: {', '.join(empty)}.\n"
        "Hold it against the model's card; fill what you know, each with its source (or leave it empty). Then run\n"
        "  .venv/bin/python -m pytest tests -k 'catalog or choosing or models'\n"
        "and build the lessons that print the catalogue: 07, 08, 12."
    )


def row(name: str) -> dict[str, str]:
    """The cells that mteb's metadata fill; an unknown one is missing or empty.

    Raises:
        CourseError: mteb doesn't know the model, or not its dimensions, or its weights aren't open.
    """
    try:
        meta: Any = mteb.get_model_meta(name)
    except KeyError:
        close = nearest(name, [str(known.name) for known in mteb.get_model_metas()])
        raise CourseError(
            f"mteb {mteb.__version__} doesn't know {name!r}.{close} Write the row by hand: hub_id and dims are "
            "needed, every other cell may be empty."
        ) from None
    if not meta.open_weights or not meta.embed_dim:
        raise CourseError(f"{name} can't be in the catalogue: mteb has no open weights or no dimensions for it.")
    sizes = meta.embed_dim if isinstance(meta.embed_dim, list) else [meta.embed_dim]
    cells: dict[str, Any] = {
        "hub_id": meta.name,
        "revision": meta.revision,
        "release_date_mteb": meta.release_date,
        "dims": max(sizes),
        "max_tokens": int(meta.max_tokens) if meta.max_tokens and isfinite(meta.max_tokens) else None,
        "params_total": meta.n_parameters,
        "params_active": meta.n_active_parameters_override,
        "params_embedding": meta.n_embedding_parameters,
        "memory_mb_mteb": meta.memory_usage_mb,
        "license": meta.license,
        "languages_mteb": len(meta.languages or ()) or None,
        "training_code": meta.public_training_code or "not public (mteb: None)",
        "training_data": meta.public_training_data or "not public (mteb: None)",
        **_prompts(meta),
        **_remote_code(meta),
        **{column: meta.zero_shot_percentage(mteb.get_benchmark(of).tasks) for column, of in BENCHMARKS.items()},
    }
    if len(sizes) > 1:
        smaller = "/".join(map(str, sorted(sizes, reverse=True)))
        cells |= {"matryoshka": "yes", "matryoshka_dims": smaller, "matryoshka_source": "mteb embed_dim list"}
    if meta.adapted_from:
        cells |= {"arch_family": f"base: {meta.adapted_from}", "arch_source": "mteb adapted_from"}
    if meta.n_parameters and meta.n_parameters % ROUNDED == 0:
        cells["notes"] = "params_total is mteb's n_parameters, rounded"
    return {column: "" if cell is None else str(cell) for column, cell in cells.items()}


def _prompts(meta: Any) -> dict[str, str]:
    """The prompts that mteb's loader gives a model; none if it gives some for tasks only, which aren't ours."""
    given = {side: text for side, text in (meta.loader_kwargs.get("model_prompts") or {}).items()}
    if "query" not in given and "document" not in given:
        return {}
    prompts = {side: given.get(side, "none").replace("\n", "\\n") for side in ("query", "document")}
    return {f"{side}_prompt": text for side, text in prompts.items()} | {"prompt_source": "mteb loader"}


def _remote_code(meta: Any) -> dict[str, str]:
    """Whether mteb's loader lets a model run its own code; unknown for a loader of the model's own that doesn't say."""
    if meta.loader_kwargs.get("trust_remote_code"):
        return {"trust_remote_code": "yes", "trust_remote_code_source": "yes (mteb loader)"}
    if meta.loader is not None and meta.loader.__name__ == "SentenceTransformerEncoderWrapper":
        return {"trust_remote_code": "no", "trust_remote_code_source": "no (mteb loader)"}
    return {}
