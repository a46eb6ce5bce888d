"""Where a model's weights can come from: a class a source, and the order in which they are tried.

A class's `find` says whether it has a name, before anything heavy is done; `load` then makes the model.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, Self

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Dense, Normalize

from helpers import bundled, catalog
from helpers import packages as index
from helpers.bundled import quiet
from helpers.catalog import Card
from helpers.errors import CourseError, OutOfReachError
from helpers.files import sha256
from helpers.models import folder, hub, packages, twins
from helpers.models.provenance import Weights
from helpers.models.ways import WAYS
from helpers.packages import Packaged

Source = Literal["auto", "hub", "package", "bundled", "stand-in", "twin"]
PINNED = re.compile(r"(?P<hub_id>[\w.-]+/[\w.-]+)@(?P<revision>[0-9a-f]{40})")


@dataclass(frozen=True)
class Options:
    """How a model is wanted; see `helpers.load`."""

    device: str
    dtype: torch.dtype | None = None
    trust_remote_code: bool = False


Loaded = tuple[SentenceTransformer, Weights]


class Way(Protocol):
    """One source of weights, for one name."""

    @classmethod
    def find(cls, name: str) -> Self | None:
        """The way to a name's weights, or None where this source hasn't them."""

    def load(self, options: Options) -> Loaded:
        """The model and what its weights are."""


@dataclass(frozen=True)
class Bundled:
    """Weights that come with the course."""

    name: str

    @classmethod
    def find(cls, name: str) -> Self | None:
        """By its name in `bundled.MODELS`, in any case, with or without MiniLM's organisation."""
        known = {bundled_name.lower(): bundled_name for bundled_name in bundled.MODELS}
        match = known.get(name.lower().removeprefix("sentence-transformers/"))
        return cls(match) if match else None

    def load(self, options: Options) -> Loaded:
        """Built for the device; a dtype is refused where the numbers are of a fixed kind."""
        model = bundled.MODELS[self.name].build(options.device)
        if options.dtype not in (None, torch.float32):
            if next(model.parameters(), None) is None:
                raise CourseError(f"{self.name} can't be run in {str(options.dtype)[6:]}: its numbers are fixed.")
            model.to(options.dtype)
        original = self.name == bundled.MINILM
        detail = f"sha256 {bundled.MINILM_SHA256[:12]}" if original else bundled.MODELS[self.name].what
        return model, Weights("bundled", detail)


@dataclass(frozen=True)
class Package:
    """Weights that lie in packages, put together in the course's cache by `make weights`."""

    packaged: Packaged

    @classmethod
    def find(cls, name: str) -> Self | None:
        """By its name, short or the hub's, in any case."""
        packaged = index.find(name)
        return cls(packaged) if packaged else None

    def load(self, options: Options) -> Loaded:
        """From the cache, offline; it isn't fetched here, since that takes hundreds of megabytes."""
        packaged = self.packaged
        if not packages.here(packaged):
            raise OutOfReachError(
                f"{packaged.name}: its weights aren't here; `make weights` fetches them, {packaged.download_mb:.0f} MB."
            )
        with quiet():
            model = SentenceTransformer(
                str(packaged.folder(bundled.cache_folder())),
                device=options.device,
                local_files_only=True,
                model_kwargs=_model_kwargs(options),
            )
        detail = f"{packaged.what}, from {packaged.packages}, sha256 {packaged.weights_sha256[:12]}"
        return model, Weights("hub" if packaged.official else "quantised", detail)


class PackageOrElse(Package):
    """Packaged weights where they are in the cache, else what there would be without the package."""

    def load(self, options: Options) -> Loaded:
        """The hub's weights for the hub's own bytes; for rounded ones a stand-in, never the original's weights."""
        if packages.here(self.packaged):
            return super().load(options)
        card = catalog.card(self.packaged.original)
        return (HubOrStandIn if self.packaged.official else StandIn)(card).load(options)


@dataclass(frozen=True)
class Folder:
    """A folder of the reader's own."""

    path: Path

    @classmethod
    def find(cls, name: str) -> Self | None:
        """By its path."""
        path = Path(name).expanduser()
        return cls(path) if path.is_dir() else None

    def load(self, options: Options) -> Loaded:
        """As Sentence Transformers loads it, offline."""
        if not any((self.path / name).exists() for name in ("modules.json", "config.json")):
            raise CourseError(f"{self.path} is no model: it has neither modules.json nor config.json.")
        folder.check(self.path, trust_remote_code=options.trust_remote_code)
        try:
            with quiet():
                model = SentenceTransformer(
                    str(self.path),
                    device=options.device,
                    local_files_only=True,
                    trust_remote_code=options.trust_remote_code,
                    model_kwargs=_model_kwargs(options),
                )
        except Exception as error:  # of what a check doesn't know, whatever the libraries say of it
            first = (str(error).strip() or "no reason given").splitlines()[0][:200]
            told = f"{self.path} can't be loaded ({type(error).__name__}: {first})"
            raise CourseError(f"{told}; copy the folder again, from where the model is whole.") from error
        folder.fits(self.path, model)
        files = sorted(self.path.rglob("*.safetensors"))
        return model, Weights("local", f"sha256 {sha256(files[0])[:12]}" if files else self.path.name)


@dataclass(frozen=True)
class Pinned:
    """A hub model outside the catalogue, at the revision that its name holds."""

    hub_id: str
    revision: str

    @classmethod
    def find(cls, name: str) -> Self | None:
        """By `org/name@<40 hex digits>`."""
        match = PINNED.fullmatch(name)
        return cls(**match.groupdict()) if match else None

    def load(self, options: Options) -> Loaded:
        """From the hub's local cache, or downloaded."""
        return from_hub(self.hub_id, self.revision, options)


@dataclass(frozen=True)
class _Catalogued:
    card: Card

    @classmethod
    def find(cls, name: str) -> Self | None:
        """By the catalogue's full or short name."""
        card = catalog.find(name)
        return cls(card) if card else None


class Hub(_Catalogued):
    """A model of the catalogue, at its pinned revision."""

    def load(self, options: Options) -> Loaded:
        """From the hub's local cache, or downloaded; its own code runs only where the reader allows it."""
        revision = pinned(self.card)
        if self.card.trust_remote_code and not options.trust_remote_code:
            raise CourseError(
                f"{self.card.hub_id} runs code of its own, and without it gives wrong vectors or none; read that code "
                f"at revision {revision[:12]}, then pass trust_remote_code=True."
            )
        return from_hub(self.card.hub_id, revision, options, **arguments(self.card))


class StandIn(_Catalogued):
    """MiniLM with another model's prompts and shape.

    Its vectors are lifted (or cut) to the other's dimensions by a fixed random orthonormal map, which keeps every
    cosine where the dimensions grow.
    """

    def load(self, options: Options) -> Loaded:
        """Made at once, from weights that every install has."""
        card = self.card
        model = bundled.minilm()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            lift = Dense(384, card.dims, bias=False, activation_function=torch.nn.Identity())
            torch.nn.init.orthogonal_(lift.linear.weight)
        modules = [*model, lift] if card.outputs_normalized is False else [*model, lift, Normalize()]
        stand_in = SentenceTransformer(
            modules=modules, device=options.device, prompts=card.prompts, similarity_fn_name="cosine"
        )
        stand_in.max_seq_length = min(512, card.max_tokens or 512)
        if options.dtype is not None:
            stand_in.to(options.dtype)
        return stand_in, Weights("stand-in", f"MiniLM behind the shape of {card.name}; says nothing of its quality")


class HubOrStandIn(_Catalogued):
    """The hub's weights, or a stand-in where they are out of reach, as a gated model's are without a login."""

    def load(self, options: Options) -> Loaded:
        """Asks the hub only where the local cache hasn't the pinned revision."""
        revision = self.card.revision
        if revision is None or not (hub.in_cache(self.card.hub_id, revision) or hub.hub_reachable()):
            return StandIn(self.card).load(options)
        try:
            return Hub(self.card).load(options)
        except OutOfReachError as refusal:
            print(refusal)
            return StandIn(self.card).load(options)


class Twin(_Catalogued):
    """The model's architecture with random weights."""

    def load(self, options: Options) -> Loaded:
        """Built from the catalogue's numbers."""
        model = twins.twin(self.card.hub_id, device=options.device, dtype=options.dtype or torch.float32)
        return model, Weights("twin", f"random weights in the shape of {self.card.name}; says nothing of its quality")


@dataclass(frozen=True)
class Rerun:
    """A model that any source gives, run in another way."""

    model: Way
    how: str

    @classmethod
    def find(cls, name: str) -> Self | None:
        """Not by itself: a name's end says how, its beginning is looked up like any other."""
        return None

    def load(self, options: Options) -> Loaded:
        """The same weights, with the way in their description."""
        model, made = self.model.load(options)
        return WAYS[self.how](model), Weights(made.kind, f"{made.detail}; run by {self.how}")


SOURCES: dict[Source, tuple[type[Way], ...]] = {
    "auto": (Bundled, Folder, Pinned, PackageOrElse, HubOrStandIn),
    "hub": (Pinned, Hub),
    "package": (Package,),
    "bundled": (Bundled,),
    "stand-in": (StandIn,),
    "twin": (Twin,),
}


def pinned(card: Card) -> str:
    """The revision that a catalogue model is pinned to.

    Raises:
        CourseError: the catalogue knows none.
    """
    if card.revision is None:
        raise CourseError(
            f"The catalogue knows no revision of {card.hub_id}, so its weights can't be pinned; look one up "
            f"on the hub and load '{card.hub_id}@<revision>'."
        )
    return card.revision


def arguments(card: Card) -> dict[str, Any]:
    """The arguments of `SentenceTransformer` that a catalogue model needs beside its revision."""
    needs = {
        "prompts": {side: text for side, text in card.prompts.items() if text},
        "trust_remote_code": bool(card.trust_remote_code),
        "config_kwargs": card.config_kwargs,
        "processor_kwargs": card.processor_kwargs,
    }
    return {argument: value for argument, value in needs.items() if value}


def from_hub(
    hub_id: str,
    revision: str,
    options: Options,
    *,
    prompts: dict[str, str] | None = None,
    trust_remote_code: bool = False,
    config_kwargs: dict[str, Any] | None = None,
    processor_kwargs: dict[str, Any] | None = None,
) -> Loaded:
    """A hub model at a revision, from the local cache or downloaded.

    Args:
        hub_id: `org/name`.
        revision: 40 hex digits.
        options: how it is wanted.
        prompts: of `SentenceTransformer`, as are the others.
        trust_remote_code: let the model run its own code.
        config_kwargs: for its configuration.
        processor_kwargs: for its tokenizer.

    Raises:
        OutOfReachError: it isn't in the cache and can't be downloaded.
    """
    reachable = hub.hub_reachable()
    if not reachable and not hub.in_cache(hub_id, revision):
        raise OutOfReachError(
            f"{hub_id}: its weights aren't in the local cache and the hub doesn't answer; connect once to "
            "download them, or use a bundled model."
        )
    try:
        model = SentenceTransformer(
            hub_id,
            revision=revision,
            device=options.device,
            local_files_only=not reachable,
            model_kwargs=_model_kwargs(options),
            prompts=prompts,
            trust_remote_code=trust_remote_code,
            config_kwargs=config_kwargs,
            processor_kwargs=processor_kwargs,
        )
    except OSError as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise OutOfReachError(f"{hub_id} at revision {revision[:12]} can't be loaded: {first}") from error
    return model, Weights("hub", f"revision {revision[:12]}")


def _model_kwargs(options: Options) -> dict[str, torch.dtype]:
    return {} if options.dtype is None else {"dtype": options.dtype}
