"""What this machine is and what is installed: for reports, and for whoever writes a bug report."""

import os
import platform
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import huggingface_hub
import psutil
import torch

from helpers.models.device import processor

PACKAGES = (
    "embedding-models-course",
    "torch",
    "sentence-transformers",
    "transformers",
    "FlagEmbedding",
    "onnxruntime",
    "numpy",
    "scipy",
    "scikit-learn",
    "papermill",
    "jupyterlab",
)


@cache
def hardware() -> dict[str, Any]:
    """The processor, its cores and threads in use, memory in GB, and the accelerator if there is one."""
    name, features = processor()
    facts: dict[str, Any] = {
        "cpu": name or platform.processor() or platform.machine(),
        "cpu_features": features,
        "cores": psutil.cpu_count(logical=False) or os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "accelerator": None,
    }
    if torch.cuda.is_available():
        gpu = torch.cuda.get_device_properties(0)
        facts["accelerator"] = f"{gpu.name}, {gpu.total_memory / 1e9:.0f} GB, CUDA {torch.version.cuda}"
    elif torch.backends.mps.is_available():
        facts["accelerator"] = "Apple GPU (mps)"
    return facts


def versions() -> dict[str, str]:
    """Python, the operating system, and the packages that decide what comes out."""
    versions = {"python": platform.python_version(), "system": f"{platform.system()} {platform.machine()}"}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "not installed"
    return versions


def environment() -> dict[str, Any]:
    """Hardware and versions together, ready for JSON."""
    return {"hardware": hardware(), "versions": versions()}


def hub_cache() -> list[str]:
    """The hub models that lie in the local cache, by full id."""
    try:
        return sorted(repo.repo_id for repo in huggingface_hub.scan_cache_dir().repos if repo.repo_type == "model")
    except huggingface_hub.errors.CacheNotFound:
        return []
