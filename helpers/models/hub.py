"""Whether the Hugging Face hub answers, and what of it lies in the local cache."""

from functools import cache

import huggingface_hub

from helpers.files import answers


@cache
def hub_reachable() -> bool:
    """Whether the Hugging Face hub answers within 3 seconds; asked once a process."""
    if huggingface_hub.constants.HF_HUB_OFFLINE:
        return False
    return answers(huggingface_hub.constants.ENDPOINT)


def in_cache(hub_id: str, revision: str) -> bool:
    """Whether a model's pinned revision was downloaded before."""
    return isinstance(huggingface_hub.try_to_load_from_cache(hub_id, "config.json", revision=revision), str)
