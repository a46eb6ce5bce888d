"""The small module behind the course's notebooks: load models, judge them, show what came out.

`load` is the door most lessons go through; the rest is imported by room: `from helpers import data`. The face is lazy
(PEP 562): a room that needs no model doesn't pay for importing torch.
"""

import os
from typing import TYPE_CHECKING, Any

# Threads that wait for one another do so asleep: spinning takes a core from whatever else runs, and counts as CPU
# seconds, by which the benchmark compares. It is read when PyTorch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

if TYPE_CHECKING:
    from helpers.models import load, weights

__all__ = ["load", "weights"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from helpers import models

    return getattr(models, name)
