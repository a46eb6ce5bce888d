"""What a model's weights are, which decides what may be concluded from it.

- `hub`: the real weights, at the catalogue's pinned revision, or the same bytes from a package (see `packages`)
- `bundled`: real weights that come with the course (see `helpers.bundled`)
- `quantised`: real weights, rounded and unpacked again, under a name that says so; never the original's figures
- `local`: the weights in a folder of the reader's own
- `stand-in`: MiniLM behind another model's shapes and prompts; mechanics only, never quality
- `twin`: the model's architecture with random weights; speed and memory only, never quality
"""

from dataclasses import dataclass
from typing import Any, Literal
from weakref import WeakKeyDictionary

from sentence_transformers import SentenceTransformer

Kind = Literal["hub", "bundled", "quantised", "local", "stand-in", "twin"]


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
        return self.kind in ("hub", "bundled", "quantised", "local")


_known: "WeakKeyDictionary[object, Weights]" = WeakKeyDictionary()
announced: set[str] = set()


def weights(model: SentenceTransformer) -> Weights:
    """What the weights of a loaded model are; `local` for one that `helpers` didn't make."""
    return _known.get(model, Weights("local", "not loaded by helpers"))


def mark(model: object, made: Weights) -> None:
    """Note what a model's weights are, for `weights` to tell."""
    _known[model] = made


def announce(name: str, model: Any) -> None:
    """Print, once a process, what the weights behind a name are."""
    line = f"{name}: {weights(model)}"
    if line not in announced:
        announced.add(line)
        print(line)
