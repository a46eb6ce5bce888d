"""Load a model by name, and say what its weights are.

`load` returns a plain `SentenceTransformer` with one attribute more, `weights`:

- `hub`: the real weights, at the catalogue's pinned revision
- `bundled`: real weights that come with the course (see `bundled`)
- `local`: the weights in a folder of the reader's own
- `stand-in`: MiniLM behind another model's shapes and prompts; mechanics only, never quality
- `twin`: the model's architecture with random weights; speed and memory only, never quality
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args

import huggingface_hub
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Dense, Normalize
from sentence_transformers.util import get_device_name

from helpers import bundled, twins
from helpers.catalog import Card, card, cards, find, nearest
from helpers.doctor import answers
from helpers.errors import CourseError, OutOfReachError

Source = Literal["auto", "hub", "bundled", "stand-in", "twin"]
Kind = Literal["hub", "bundled", "local", "stand-in", "twin"]
PINNED = re.compile(r"(?P<hub_id>[\w.-]+/[\w.-]+)@(?P<revision>[0-9a-f]{40})")

# Keyword arguments that a model's remote code needs beyond the usual (mteb pull request 4935).
CONFIG_KWARGS = {
    "Alibaba-NLP/gte-Qwen2-1.5B-instruct": {"use_cache": False},
    "Alibaba-NLP/gte-Qwen2-7B-instruct": {"use_cache": False},
}
_announced: set[str] = set()


@dataclass(frozen=True)
class Weights:
    """What a model's weights are: their kind, and a revision, checksum or recipe to know them by."""

    kind: Kind
    detail: str

    def __str__(self) -> str:
        return f"{self.kind} ({self.detail})"

    @property
    def real(self) -> bool:
        """Whether quality may be measured on them."""
        return self.kind in ("hub", "bundled", "local")


def load(
    name: str,
    *,
    source: Source = "auto",
    device: str | None = None,
    dtype: str | torch.dtype | None = None,
    trust_remote_code: bool = False,
) -> SentenceTransformer:
    """Load an embedding model, and print once what its weights are.

    Args:
        name: a catalogue name, full or short (`bge-small-en-v1.5`); a bundled model
            (`bundled.MODELS`); a folder of your own; or any hub model with its revision,
            `org/name@<40 hex digits>`.
        source: "auto" takes bundled weights where the course has them, else the hub's (from its
            local cache, or downloaded), else a stand-in, with a notice. "hub", "bundled",
            "stand-in" and "twin" take that and nothing else.
        device: "cuda", "cuda:1", "mps" or "cpu"; None takes the best there is.
        dtype: "float32", "bfloat16" or "float16"; None is float32 on a CPU and what the weights
            were saved in elsewhere.
        trust_remote_code: allow a model whose catalogue row says so to run its own code, at the
            pinned revision. Read that code first.

    Returns:
        The model, with prompts for `encode_query` and `encode_document` set and `.weights` telling
        its `Weights`.

    Raises:
        CourseError: no such model, no pinned revision, no such device or dtype, weights out of
            reach, or remote code needed and not allowed.
    """
    if source not in get_args(Source):
        raise CourseError(f"source is {source!r}; it must be one of {', '.join(get_args(Source))}.")
    device, kind = choose_device(device), choose_dtype(dtype)
    model, found = _find(name, source)(device, kind, trust_remote_code)
    model.weights = found  # type: ignore[assignment]
    announce(name, found)
    return model


def code(name: str) -> str:
    """The Python that loads a catalogue model's real weights without this course.

    Raises:
        CourseError: no such model, or no pinned revision.
    """
    facts = card(name)
    arguments = {"revision": _pinned(facts)} | _needs(facts)
    lines = [f"    {argument}={value!r}," for argument, value in arguments.items()]
    head = "from sentence_transformers import SentenceTransformer"
    return "\n".join([head, "", "model = SentenceTransformer(", f"    {facts.hub_id!r},", *lines, ")"])


def weights(model: SentenceTransformer) -> Weights:
    """What the weights of a loaded model are; `local` for one that `load` didn't make."""
    found = getattr(model, "weights", None)
    return found if isinstance(found, Weights) else Weights("local", "not loaded by helpers")


def names() -> list[str]:
    """Every name that `load` knows: the bundled models, then the catalogue's."""
    return [*bundled.MODELS, *(c.hub_id for c in cards() if c.name not in bundled.MODELS)]


def choose_device(device: str | None = None) -> str:
    """The device to use: the one asked for, if it is there, else the best of cuda, mps and cpu.

    Raises:
        CourseError: the device asked for isn't there.
    """
    best = get_device_name()
    if device in (None, "", "auto"):
        return best
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError):
        raise CourseError(f"There is no device {device!r} here; use {best!r}, or leave it out.") from None
    return str(device)


def choose_dtype(dtype: str | torch.dtype | None) -> torch.dtype | None:
    """The torch dtype of a name; None stays None.

    Raises:
        CourseError: it is none of the three that embedding models are run in.
    """
    known = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
    if dtype in (None, "", "auto"):
        return None
    wanted = str(dtype).removeprefix("torch.")
    if wanted not in known:
        raise CourseError(f"dtype is {wanted!r}; it must be one of {', '.join(known)}.")
    return known[wanted]


@cache
def hub_reachable() -> bool:
    """Whether the Hugging Face hub answers within 3 seconds; asked once a process."""
    if huggingface_hub.constants.HF_HUB_OFFLINE:
        return False
    return answers(huggingface_hub.constants.ENDPOINT)


Loader = Callable[[str, torch.dtype | None, bool], tuple[SentenceTransformer, Weights]]


def _find(name: str, source: Source) -> Loader:
    """The way to load a name from a source, decided before anything heavy is done."""
    if not name.strip():
        raise CourseError("The model's name is empty; name one, such as 'all-MiniLM-L6-v2'.")
    lower = {known.lower(): known for known in bundled.MODELS}
    bundled_name = lower.get(name.lower().removeprefix("sentence-transformers/"))
    if bundled_name and source in ("auto", "bundled"):
        return lambda device, dtype, trust: _from_bundle(bundled_name, device, dtype)
    if source == "bundled":
        raise CourseError(f"{name!r} isn't bundled; bundled are: {', '.join(bundled.MODELS)}.")
    folder = Path(name).expanduser()
    if folder.is_dir() and source == "auto":
        return lambda device, dtype, trust: _from_folder(folder, device, dtype)
    if pinned := PINNED.fullmatch(name):
        if source not in ("auto", "hub"):
            raise CourseError(f"{name!r} is a hub model outside the catalogue: there is no {source} of it.")
        return lambda device, dtype, trust: _from_hub(pinned["hub_id"], pinned["revision"], device=device, dtype=dtype)
    facts = find(name)
    if facts is None:
        guess = nearest(name, [*bundled.MODELS, *(c.name for c in cards())])
        raise CourseError(
            f"There is no model {name!r} in the catalogue.{guess} A model of your own is named by its folder, "
            "or as org/name@revision with the revision's 40 hex digits."
        )
    if source == "twin":
        return lambda device, dtype, trust: _twin(facts, device, dtype)
    if source == "stand-in" or (source == "auto" and not _available(facts)):
        return lambda device, dtype, trust: _stand_in(facts, device, dtype)
    from_hub = _from_catalogue if source == "hub" else _hub_or_stand_in
    return lambda device, dtype, trust: from_hub(facts, device, dtype, trust)


def _available(facts: Card) -> bool:
    """Whether the pinned weights are in the hub's local cache or can be downloaded."""
    return facts.revision is not None and (_in_cache(facts.hub_id, facts.revision) or hub_reachable())


def _in_cache(hub_id: str, revision: str) -> bool:
    return isinstance(huggingface_hub.try_to_load_from_cache(hub_id, "config.json", revision=revision), str)


def _from_bundle(name: str, device: str, dtype: torch.dtype | None) -> tuple[SentenceTransformer, Weights]:
    model = bundled.MODELS[name].build(device)
    if dtype not in (None, torch.float32):
        if next(model.parameters(), None) is None:
            raise CourseError(f"{name} can't be run in {str(dtype)[6:]}: its numbers are of a fixed kind.")
        model.to(dtype)
    detail = f"sha256 {bundled.MINILM_SHA256[:12]}" if name == bundled.MINILM else bundled.MODELS[name].what
    return model, Weights("bundled", detail)


def _from_folder(folder: Path, device: str, dtype: torch.dtype | None) -> tuple[SentenceTransformer, Weights]:
    if not any((folder / name).exists() for name in ("modules.json", "config.json")):
        raise CourseError(f"{folder} is no model: it has neither modules.json nor config.json.")
    with bundled.quiet():
        model = SentenceTransformer(
            str(folder), device=device, local_files_only=True, model_kwargs=_model_kwargs(dtype)
        )
    files = sorted(folder.rglob("*.safetensors"))
    return model, Weights("local", f"sha256 {bundled.sha256(files[0])[:12]}" if files else folder.name)


def _from_catalogue(
    facts: Card, device: str, dtype: torch.dtype | None, trust: bool
) -> tuple[SentenceTransformer, Weights]:
    revision = _pinned(facts)
    if facts.trust_remote_code and not trust:
        raise CourseError(
            f"{facts.hub_id} runs code of its own, and without it gives wrong vectors or none; read that code at "
            f"revision {revision[:12]}, then pass trust_remote_code=True."
        )
    return _from_hub(facts.hub_id, revision, device=device, dtype=dtype, **_needs(facts))


def _hub_or_stand_in(
    facts: Card, device: str, dtype: torch.dtype | None, trust: bool
) -> tuple[SentenceTransformer, Weights]:
    """The hub's weights, or a stand-in where the hub refuses them, as it does a gated model without a login."""
    try:
        return _from_catalogue(facts, device, dtype, trust)
    except OutOfReachError as refusal:
        print(refusal)
        return _stand_in(facts, device, dtype)


def _pinned(facts: Card) -> str:
    """The revision that a catalogue model is pinned to."""
    if facts.revision is None:
        raise CourseError(
            f"The catalogue knows no revision of {facts.hub_id}, so its weights can't be pinned; look one up "
            f"on the hub and load '{facts.hub_id}@<revision>'."
        )
    return facts.revision


def _needs(facts: Card) -> dict[str, Any]:
    """The arguments of `SentenceTransformer` that a catalogue model needs beside its revision."""
    needs = {
        "prompts": {side: text for side, text in facts.prompts.items() if text},
        "trust_remote_code": bool(facts.trust_remote_code),
        "config_kwargs": CONFIG_KWARGS.get(facts.hub_id),
    }
    return {argument: value for argument, value in needs.items() if value}


def _from_hub(
    hub_id: str,
    revision: str,
    *,
    device: str,
    dtype: torch.dtype | None,
    prompts: dict[str, str] | None = None,
    trust_remote_code: bool = False,
    config_kwargs: dict[str, bool] | None = None,
) -> tuple[SentenceTransformer, Weights]:
    reachable = hub_reachable()
    if not reachable and not _in_cache(hub_id, revision):
        raise OutOfReachError(
            f"{hub_id}: its weights aren't in the local cache and the hub doesn't answer; connect once to "
            "download them, or use a bundled model."
        )
    try:
        model = SentenceTransformer(
            hub_id,
            revision=revision,
            device=device,
            prompts=prompts,
            trust_remote_code=trust_remote_code,
            local_files_only=not reachable,
            model_kwargs=_model_kwargs(dtype),
            config_kwargs=config_kwargs,
        )
    except OSError as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise OutOfReachError(f"{hub_id} at revision {revision[:12]} can't be loaded: {first}") from error
    return model, Weights("hub", f"revision {revision[:12]}")


def _model_kwargs(dtype: torch.dtype | None) -> dict[str, torch.dtype]:
    return {} if dtype is None else {"dtype": dtype}


def _stand_in(facts: Card, device: str, dtype: torch.dtype | None) -> tuple[SentenceTransformer, Weights]:
    """MiniLM with another model's prompts and shape.

    Its vectors are lifted (or cut) to the other's dimensions by a fixed random orthonormal map,
    which keeps every cosine where the dimensions grow.
    """
    model = bundled.minilm()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        lift = Dense(384, facts.dims, bias=False, activation_function=torch.nn.Identity())
        torch.nn.init.orthogonal_(lift.linear.weight)
    modules = [*model, lift] if facts.outputs_normalized is False else [*model, lift, Normalize()]
    stand_in = SentenceTransformer(modules=modules, device=device, prompts=facts.prompts, similarity_fn_name="cosine")
    stand_in.max_seq_length = min(512, facts.max_tokens or 512)
    if dtype is not None:
        stand_in.to(dtype)
    return stand_in, Weights("stand-in", f"MiniLM behind the shape of {facts.name}; says nothing of its quality")


def _twin(facts: Card, device: str, dtype: torch.dtype | None) -> tuple[SentenceTransformer, Weights]:
    model = twins.twin(facts.hub_id, device=device, dtype=dtype or torch.float32)
    return model, Weights("twin", f"random weights in the shape of {facts.name}; says nothing of its quality")


def announce(name: str, found: Weights) -> None:
    """Say once a process what the weights behind a name are."""
    key = f"{name}: {found}"
    if key not in _announced:
        _announced.add(key)
        print(key)
