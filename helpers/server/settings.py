"""What can be set about the server, each by an environment variable with the prefix EMBED_."""

import re
from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from helpers import models
from helpers.errors import CourseError


class Settings(BaseSettings):
    """What can be set, each by an environment variable: `EMBED_MODEL`, `EMBED_API_KEYS` and so on."""

    model_config = SettingsConfigDict(env_prefix="EMBED_", hide_input_in_errors=True)

    model: str = Field(default="all-MiniLM-L6-v2", description="What `helpers.load` takes: a name, or a folder.")
    source: models.Source = Field(
        default="auto", description="Where weights come from; a stand-in is served only by name."
    )
    device: str | None = Field(default=None, description="cuda, mps or cpu; unset takes the best there is.")
    dtype: Literal["float32", "bfloat16", "float16"] | None = Field(
        default=None, description="Unset: float32 on a CPU."
    )
    precision: str = Field(
        default="",
        description="auto takes the fastest way that this machine has, tried once; or a way to run the model, such as "
        "openvino-int8. Unset runs it as loaded.",
    )
    loss: float = Field(
        default=0, ge=0, lt=1, description="With auto, the 1 - cosine to the model's own vectors that may be lost."
    )
    trust_remote_code: bool = Field(default=False, description="Let a model run its own code, at its pinned revision.")
    threads: PositiveInt | None = Field(default=None, description="Threads that compute; unset is PyTorch's choice.")
    api_keys: Annotated[SecretStr, NoDecode] = Field(
        default=SecretStr(""), description="Bearer keys in ASCII, separated by commas; empty lets everybody in."
    )
    token_budget: PositiveInt = Field(default=1024, description="Tokens a batch.")
    max_queue_tokens: PositiveInt = Field(
        default=131_072, description="Tokens that may go before a request, its own among them; beyond it 429."
    )
    max_wait_s: PositiveFloat = Field(
        default=10, description="Seconds that encoding them may take, at the speed of late; beyond it 429."
    )
    max_inputs: PositiveInt = Field(default=2048, description="Texts a request; beyond it 400.")
    max_body_bytes: PositiveInt = Field(default=2_000_000, description="Bytes a request; beyond it 413.")
    max_body_s: PositiveFloat = Field(default=30, description="Seconds that a body may take to arrive; beyond it 408.")
    max_text_chars: PositiveInt | None = Field(
        default=None, description="Characters a text; beyond it 413; unset is 40 for each token that the model reads."
    )
    truncate: bool = Field(
        default=False, description="Cut texts that are too long, where a request doesn't say; else 400."
    )

    @field_validator("api_keys", mode="after")
    @classmethod
    def _can_be_sent(cls, given: SecretStr) -> SecretStr:
        """Refuse keys that no client could send in a header, and a list of keys without a key."""
        keys = _split(given)
        bad = [place for place, key in enumerate(keys, 1) if not re.fullmatch("[!-~]+", key)]
        if bad:
            raise CourseError(
                f"EMBED_API_KEYS: key {bad[0]} of {len(keys)} has a character that a header can't carry; use ASCII "
                "letters, digits and signs without blanks, as `openssl rand -hex 32` gives them."
            )
        if given.get_secret_value() and not keys:
            raise CourseError("EMBED_API_KEYS is set and holds no key; unset it if everybody may come in.")
        return given

    @property
    def keys(self) -> list[bytes]:
        """The Bearer keys."""
        return [key.encode() for key in _split(self.api_keys)]


def _split(keys: SecretStr) -> list[str]:
    return [key.strip() for key in keys.get_secret_value().split(",") if key.strip()]
