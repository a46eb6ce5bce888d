"""Encode many texts fast: `encode`, `to_openvino`; what is larger than the memory is `stream`'s and `scale`'s."""

from helpers.encode.batching import TOKEN_BUDGET, batches, cpu_has_bfloat16, encode, padding_share
from helpers.encode.tokens import token_counts
from helpers.models.openvino import to_openvino

__all__ = ["TOKEN_BUDGET", "batches", "cpu_has_bfloat16", "encode", "padding_share", "to_openvino", "token_counts"]
