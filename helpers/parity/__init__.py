"""Is this endpoint the model that it says it is? `examine(ask, reference)` names what is wrong, in a sentence each."""

from helpers.parity.asking import Ask, endpoint, of_model
from helpers.parity.examining import Examination, Finding, examine
from helpers.parity.recorded import Recorded, record, reference_of
from helpers.parity.reference import Reference, Variant

__all__ = [
    "Ask",
    "Examination",
    "Finding",
    "Recorded",
    "Reference",
    "Variant",
    "endpoint",
    "examine",
    "of_model",
    "record",
    "reference_of",
]
