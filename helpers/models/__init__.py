"""Load a model by name, and say what its weights are; see `load`."""

from helpers.models.device import choose_device, choose_dtype, precision
from helpers.models.hub import hub_reachable
from helpers.models.loading import code, load, names
from helpers.models.provenance import Weights, announce, mark, weights
from helpers.models.sources import Source

__all__ = [
    "Source",
    "Weights",
    "announce",
    "choose_device",
    "choose_dtype",
    "code",
    "hub_reachable",
    "load",
    "mark",
    "names",
    "precision",
    "weights",
]
