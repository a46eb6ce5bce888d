"""What the drill runs in a process of its own: a whole change of model that is killed at one of its points.

python -m tests.migrate.drill FILE POINT        kill -9 at the so-many-th point; 0 for none
python -m tests.migrate.drill FILE minilm       with real models, to be killed from outside
"""

import hashlib
import os
import signal
import sys

import numpy as np

from helpers.migrate import Index, Model

TEXTS = {f"t{i:03}": f"text number {i} of the drill" for i in range(40)}
QUERIES = ("text number 7", "of the drill", "nothing that is there")
DIMS = 16  # of both models, so that nothing but the fingerprint tells them apart


class Hashed:
    """A model of seeded hashes: the same text gets the same unit vector, another seed or prompt another."""

    def __init__(self, seed: str, prompt: str = "") -> None:
        self.seed, self.prompt = seed, prompt

    def encode_document(self, texts: list[str]) -> np.ndarray:
        rows = []
        for text in texts:
            digest = hashlib.sha256(f"{self.seed} {text}".encode()).digest()
            draw = np.random.default_rng(int.from_bytes(digest[:8], "little"))
            vector = draw.normal(size=DIMS)
            rows.append(vector / np.linalg.norm(vector))
        return np.array(rows, dtype=np.float32)

    def encode_query(self, texts: list[str]) -> np.ndarray:
        return self.encode_document([self.prompt + text for text in texts])


OLD, NEW = Hashed("old"), Hashed("new")


def before(path: str) -> None:
    """An index with the old model live."""
    index = Index(path)
    index.add(TEXTS)
    index.backfill("old", OLD, say=lambda line: None)
    index.switch("old")
    index.close()


def change(path: str, watch: object, old: Model = OLD, new: Model = NEW, batch: int = 8) -> None:
    """The change: a new space, one more text by dual write, the rest, the switch."""
    index = Index(path, watch)  # type: ignore[arg-type]
    index.begin("new", new)
    index.add({"t900": "a text that came during the change"}, {"old": old, "new": new})
    index.backfill("new", new, batch, say=lambda line: None)
    index.switch("new")
    index.close()


def main(path: str, point: str) -> None:
    if point == "minilm":
        from helpers import load

        old, new = (load(name, device="cpu") for name in ("all-MiniLM-L6-v2-static-256", "all-MiniLM-L6-v2"))
        print("ready", flush=True)
        change(path, lambda point: None, old, new, batch=2)
        return
    seen = 0

    def watch(name: str) -> None:
        nonlocal seen
        seen += 1
        if seen == int(point):
            os.kill(os.getpid(), signal.SIGKILL)

    change(path, watch)
    print(seen)


if __name__ == "__main__":
    main(*sys.argv[1:])
