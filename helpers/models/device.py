"""The device and the dtype to run a model in, from what a reader asks for."""

from functools import cache

import cpuinfo
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.util import get_device_name

from helpers.errors import CourseError


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
def processor() -> tuple[str, list[str]]:
    """The processor's name, and those of its instruction sets on which the speed of a model hangs."""
    info = cpuinfo.get_cpu_info()
    wanted = {"avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_bf16", "amx_int8", "asimd", "bf16"}
    return info.get("brand_raw", ""), sorted(wanted & set(info.get("flags", [])))


def precision(model: SentenceTransformer) -> str:
    """The kind of numbers that a model computes with: "float32", "bfloat16", "int8" and so on.

    A model that another runtime runs says it itself (`RuntimeTransformer.precision`).
    """
    return str(getattr(model[0], "precision", None) or model.dtype or torch.float32).removeprefix("torch.")
