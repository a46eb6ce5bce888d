"""The parameters of a run, from a notebook's variables; what isn't one is an error, not a silent no-op."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from IPython import get_ipython
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from helpers import bundled
from helpers.benchmark.entrants import BM25
from helpers.errors import CourseError, nearest
from helpers.models import Source


class Settings(BaseModel):
    """What a run is told; the parameters of the benchmark notebook."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    models: tuple[str, ...] = (*bundled.MODELS, BM25)
    dataset: str = "course"
    columns: dict[str, str] | str | None = None
    encoding: str | None = None
    limit: int | None = Field(default=None, ge=2)
    source: Source = "auto"
    device: str | None = None
    dtype: str | None = None
    batch_size: int = Field(default=32, ge=1)
    speed_s: float = Field(default=45.0, ge=0, allow_inf_nan=False)
    seed: int = Field(default=0, ge=0)
    output_dir: Path = Path("results")
    quality: str | None = None
    margin: float = Field(default=0.02, gt=0, allow_inf_nan=False)
    speed_cap: float = Field(default=500.0, gt=0)
    trust_remote_code: bool = False

    @field_validator("models", mode="before")
    @classmethod
    def _names(cls, value: Any) -> Any:
        """A list of names, or one text with commas; "bundled" stands for every bundled model, and BM25."""
        if not isinstance(value, str | list | tuple):
            raise ValueError("give names with commas between, or a list of names")
        parts = value.split(",") if isinstance(value, str) else value
        found = [n for part in parts for n in ((*bundled.MODELS, BM25) if part == "bundled" else [str(part).strip()])]
        return tuple(dict.fromkeys(name for name in found if name))

    @field_validator("device", "dtype", "quality", "columns", "encoding", "limit", mode="before")
    @classmethod
    def _optional(cls, value: Any) -> Any:
        """The word "auto" and an empty text mean: choose for me."""
        return None if value in ("", "auto") else value


def notebook_variables() -> dict[str, Any]:
    """The variables that the cells of this notebook have set so far."""
    shell: Any = get_ipython()
    return {name: value for name, value in shell.user_ns.items() if name not in shell.user_ns_hidden}


def settings(namespace: Mapping[str, Any]) -> Settings:
    """Settings from variables; what isn't a setting is an error, not a silent no-op.

    Args:
        namespace: name -> value; modules, functions and private names are passed over.

    Raises:
        CourseError: an unknown parameter, or a value of the wrong kind; names it and the mend.
    """
    given = {
        name: value
        for name, value in namespace.items()
        if not name.startswith("_") and not callable(value) and not hasattr(value, "__loader__")
    }
    try:
        made = Settings(**given)
    except ValidationError as error:
        problem = error.errors()[0]
        name = str(problem["loc"][0])
        if problem["type"] == "extra_forbidden":
            known = list(Settings.model_fields)
            raise CourseError(
                f"There is no parameter {name!r}.{nearest(name, known)} Known are: {', '.join(known)}."
            ) from None
        raise CourseError(f"Parameter {name} is {problem['input']!r}: {problem['msg']}.") from None
    if not made.models:
        raise CourseError("Parameter models is empty; name at least one, or 'bundled'.")
    return made
