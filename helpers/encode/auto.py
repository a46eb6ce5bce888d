"""The fastest way to run a model on this machine, found out by trying, once a machine.

What is fast hangs on the processor: int8 wins where it has VNNI and may lose where it has AVX2 alone. So each way is
tried for about a second on the course's texts, in turn, and what came out is kept in the cache, by processor, libraries
and model. A way that changes vectors is taken only where a loss is allowed.
"""

import copy
import hashlib
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer

from helpers import data, files
from helpers.bundled.runtime import RuntimeTransformer
from helpers.errors import CourseError
from helpers.models import ways
from helpers.models.device import processor
from helpers.models.provenance import mark, weights

Floats = NDArray[np.float32]
Encode = Callable[[SentenceTransformer, list[str]], Floats]

AS_LOADED = "as loaded"  # unpadded, where `encode` can
EXACT = ("openvino",)
EQUAL = 1e-5  # of any number, for ways that change nothing
WORTH = 1.05  # a smaller ratio of speeds, in any round, is no reason to change
TEXTS, ROUNDS = 32, 3
LIBRARIES = ("torch", "openvino", "onnxruntime", "nncf", "embedding-models-course")


@dataclass(frozen=True)
class Choice:
    """What was chosen, and why.

    Attributes:
        way: `AS_LOADED`, or a name of `ways.WAYS`.
        loss: the largest 1 - cosine that was allowed.
        ratios: speed over that of the model as loaded, the median of rounds, by way; CPU seconds.
        deviations: the largest 1 - cosine to the model as loaded, by way.
        refused: why a way wasn't tried, by way.
        cpu: where.
    """

    way: str
    loss: float
    ratios: dict[str, float]
    deviations: dict[str, float]
    refused: dict[str, str]
    cpu: str

    def __str__(self) -> str:
        if not self.ratios:
            return f"{self.way}: {self.cpu}"
        tried = ", ".join(f"{way} {ratio:.2f} ({self.deviations[way]:.0e})" for way, ratio in self.ratios.items())
        allowed = f"a loss of {self.loss:g}" if self.loss else "no loss"
        return f"{self.way}, with {allowed} allowed; speed (and 1 - cosine) by way: {tried}; {self.cpu}"


_made: "WeakKeyDictionary[SentenceTransformer, dict[str, SentenceTransformer]]" = WeakKeyDictionary()
_chosen: "WeakKeyDictionary[SentenceTransformer, dict[float, Choice]]" = WeakKeyDictionary()


def run_as(model: SentenceTransformer, way: str) -> SentenceTransformer:
    """A model in one of its ways, converted once a process.

    Raises:
        CourseError: there is no such way, or it takes no such model.
    """
    if way == AS_LOADED:
        return model
    if way not in ways.WAYS:
        raise CourseError(f"There is no way {way!r} to run a model; there are auto, {', '.join(ways.WAYS)}.")
    if isinstance(model[0], RuntimeTransformer):
        raise CourseError(f"The model runs in another runtime already ({model[0].precision}); load it as it is.")
    made = _made.setdefault(model, {})
    if way not in made:
        made[way] = ways.WAYS[way](copy.deepcopy(model))  # a way may keep the model it was made of, `_made` mustn't
        made[way].truncate_dim, made[way].default_prompt_name = model.truncate_dim, model.default_prompt_name
        mark(made[way], weights(model))
    return made[way]


def chosen_way(model: SentenceTransformer, precision: str, loss: float, encode: Encode) -> str:
    """The way that "auto" comes to on this machine, said once; any other precision is a way already."""
    if precision != "auto":
        return precision
    said = model in _chosen and loss in _chosen[model]
    choice = choose(model, encode, loss)
    if not said:
        print(f"precision: {choice}", flush=True)
    return choice.way


def choose(model: SentenceTransformer, encode: Encode, loss: float = 0.0) -> Choice:
    """The fastest way to run a model on this machine.

    Args:
        model: as loaded, which is what the others are held against.
        encode: what it is run by.
        loss: the largest 1 - cosine to the model's own vectors that may be lost, on a sample of the course's texts; 0
            allows only ways whose numbers are the model's within 1e-5.

    Raises:
        CourseError: the loss is none.
    """
    if not 0 <= loss < 1:
        raise CourseError(f"loss is {loss}; it is the 1 - cosine that may be lost, from 0 to below 1, such as 0.01.")
    if model.device.type != "cpu":
        return Choice(AS_LOADED, loss, {}, {}, {}, "on an accelerator nothing else is tried")
    known = _chosen.setdefault(model, {})
    if loss not in known:
        path = files.cache_folder() / "ways" / f"{_key(model, loss)}.json"
        try:
            known[loss] = Choice(**json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            known[loss] = _tried(model, encode, loss)
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                files.replace(path, json.dumps(asdict(known[loss]), indent=1).encode())
            except OSError:
                pass  # it is found out again next time
    return known[loss]


def _tried(model: SentenceTransformer, encode: Encode, loss: float) -> Choice:
    """Every way that this machine has, in rounds in which each has its turn."""
    print("precision: trying the ways that this machine has to run the model, once; half a minute ...", flush=True)
    found = list(data.texts())
    sample = found[:: len(found) // TEXTS][:TEXTS]
    right = encode(model, sample)
    ready, refused, deviations = {AS_LOADED: model}, dict[str, str](), {AS_LOADED: 0.0}
    for way in (*EXACT, *(ways.LOSSY if loss else ())):
        try:
            vectors = encode(made := run_as(model, way), sample)  # also warms up
        except CourseError as error:
            refused[way] = str(error)
            continue
        deviations[way] = float((1 - _cosines(vectors, right)).max())
        if deviations[way] <= loss if loss else np.abs(vectors - right).max() <= EQUAL:
            ready[way] = made
        else:
            refused[way] = f"its vectors deviate by {deviations[way]:.0e}"
    seconds: dict[str, list[float]] = {way: [] for way in ready}
    for _ in range(ROUNDS):
        for way, made in ready.items():
            begin = time.process_time()
            encode(made, sample)
            seconds[way].append(time.process_time() - begin)
    rounds = {w: [base / s for base, s in zip(seconds[AS_LOADED], seconds[w], strict=True)] for w in ready}
    ratios = {way: statistics.median(each) for way, each in rounds.items()}
    better = [way for way in ready if min(rounds[way]) >= WORTH]
    best = max(better, key=lambda way: ratios[way], default=AS_LOADED)
    _made[model] = {way: made for way, made in _made.get(model, {}).items() if way == best}  # the others' memory
    return Choice(best, loss, ratios, {way: deviations[way] for way in ready}, refused, _cpu())


def _cosines(one: Floats, other: Floats) -> Floats:
    """(n,) cosines of rows."""
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    return np.asarray((one * other).sum(axis=1) / lengths)


def _cpu() -> str:
    name, features = processor()
    return " ".join([name or "a CPU", *features])


def _key(model: SentenceTransformer, loss: float) -> str:
    """Of a choice in the cache: processor, threads, libraries, the model and a vector of it, the loss."""

    def installed(library: str) -> str:
        try:
            return version(library)
        except PackageNotFoundError:
            return ""

    probe: Any = model.encode(["Where did the train to the coast stop?"], show_progress_bar=False)[0]
    about = [_cpu(), torch.get_num_threads(), *map(installed, LIBRARIES), str(weights(model)), str(model.dtype)]
    about += [model.max_seq_length, loss, [round(float(v), 2) for v in probe[:8]]]
    return hashlib.sha256(json.dumps(about).encode()).hexdigest()[:16]
