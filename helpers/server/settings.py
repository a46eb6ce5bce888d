"""What can be set about the server, each by an environment variable with the prefix EMBED_."""

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt, SecretStr
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from helpers import models


class Settings(BaseSettings):
    """What can be set, each by an environment variable: `EMBED_MODEL`, `EMBED_API_KEYS` and so on."""

    model_config = SettingsConfigDict(env_prefix="EMBED_")

    model: str = Field(default="all-MiniLM-L6-v2", description="What `helpers.load` takes: a name, or a folder.")
    source: models.Source = Field(
        default="auto", description="Where weights come from; a stand-in is served only by name."
    )
    device: str | None = Field(default=None, description="cuda, mps or cpu; unset takes the best there is.")
    dtype: Literal["float32", "bfloat16", "float16"] | None = Field(
        default=None, description="Unset: float32 on a CPU."
    )
    trust_remote_code: bool = Field(default=False, description="Let a model run its own code, at its pinned revision.")
    threads: PositiveInt | None = Field(default=None, description="Threads that compute; unset is PyTorch's choice.")
    api_keys: Annotated[SecretStr, NoDecode] = Field(
        default=SecretStr(""), description="Bearer keys, separated by commas; empty lets everybody in."
    )
    token_budget: PositiveInt = Field(default=1024, description="Tokens a batch.")
    max_queue_tokens: PositiveInt = Field(
        default=131_072, description="Tokens accepted and not yet encoded, all requests together; beyond it 429."
    )
    max_wait_s: PositiveFloat = Field(
        default=10, description="Seconds that encoding them may take, at the speed of late; beyond it 429."
    )
    max_inputs: PositiveInt = Field(default=2048, description="Texts a request; beyond it 400.")
    max_body_bytes: PositiveInt = Field(default=2_000_000, description="Bytes a request; beyond it 413.")
    truncate: bool = Field(
        default=False, description="Cut texts that are too long, where a request doesn't say; else 400."
    )

    @property
    def keys(self) -> list[bytes]:
        """The Bearer keys."""
        return [key.strip().encode() for key in self.api_keys.get_secret_value().split(",") if key.strip()]
