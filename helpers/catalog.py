"""Facts about embedding models: what each one is, what it needs, how it scored, and who says so.

The facts live in `facts/models.csv`, one row a model. An empty cell is unknown and becomes None.
Loading a model is left to `models`. What APIs and GPUs cost is in `facts/prices.csv`; sums are left to `costs`.
"""

import csv
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PositiveInt,
    ValidationError,
    model_validator,
)

from helpers.errors import CourseError, nearest

FACTS = Path(__file__).parent / "facts"
DEFAULT_TASK = "Given a web search query, retrieve relevant passages that answer the query"

Row = TypeVar("Row", bound=BaseModel)
Benchmark = Literal["MTEB(eng, v1)", "MTEB(eng, v2)", "MTEB(Multilingual, v2)"]

# The column of each benchmark's mean, that of the tasks run, and how many a complete run has. (Of the 131
# multilingual tasks no run of the snapshot has more than 130.)
BENCHMARKS: dict[Benchmark, tuple[str, str, int]] = {
    "MTEB(eng, v1)": ("eng_v1_computed", "eng_v1_n_of_56", 56),
    "MTEB(eng, v2)": ("eng_v2_computed_mean_task", "eng_v2_n_of_41", 41),
    "MTEB(Multilingual, v2)": ("multilingual_v2_computed_mean_task", "multilingual_v2_n_of_131", 130),
}

# The column of the mean over a benchmark's retrieval tasks alone (10 and 18 of them), where a publisher states one.
RETRIEVAL: dict[Benchmark, str] = {
    "MTEB(eng, v2)": "eng_v2_retrieval",
    "MTEB(Multilingual, v2)": "multilingual_v2_retrieval",
}

Score = Annotated[float | None, Field(ge=0, le=100)]
Count = PositiveInt | None
YesNo = Annotated[bool | None, BeforeValidator(lambda cell: {"yes": True, "no": False, None: None}.get(cell, cell))]

Arguments = Annotated[dict[str, Any] | None, BeforeValidator(lambda cell: json.loads(cell) if cell else None)]


class Card(BaseModel):
    """One model's facts: a row of `facts/models.csv`. Every `*_source` says where a fact was read.

    `params_*` count parameters, `memory_mb_mteb` is MB, scores are 0-100, and the `_n_of_` columns
    count the tasks behind a computed mean. Scores of `eng_v1`, `eng_v2` and `multilingual_v2` are
    means over different tasks: never compare or average across them. `config_kwargs` and
    `processor_kwargs` are JSON for the arguments of `SentenceTransformer`; `truncation` says what a cut to fewer
    dimensions needs beyond cutting; `package` names the packages that hold its weights, beside the hub.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    hub_id: str = Field(pattern=r"^[\w.-]+/[\w.-]+$")
    revision: str | None = Field(pattern=r"^[0-9a-f]{40}$")
    release_date_mteb: str | None
    dims: PositiveInt
    dims_note: str | None
    max_tokens: Count
    max_tokens_note: str | None
    params_total: Count
    params_active: Count
    params_embedding: Count
    memory_mb_mteb: float | None
    license: str | None
    languages_mteb: Count
    languages_note: str | None
    arch_family: str | None
    layers: Annotated[int | None, Field(ge=0)]
    hidden: Count
    heads: Count
    kv_heads: Count
    intermediate: Count
    vocab: Count
    arch_source: str | None
    package: str | None
    pooling: str | None
    pooling_source: str | None
    outputs_normalized: YesNo
    normalized_source: str | None
    query_prompt: str | None
    document_prompt: str | None
    prompt_source: str | None
    matryoshka: YesNo
    matryoshka_dims: str | None
    matryoshka_source: str | None
    trust_remote_code: YesNo
    trust_remote_code_source: str | None
    config_kwargs: Arguments
    processor_kwargs: Arguments
    truncation: Literal["layer norm first"] | None
    training_code: str | None
    training_data: str | None
    eng_v1_published: Score
    eng_v1_published_source: str | None
    eng_v1_computed: Score
    eng_v1_n_of_56: Annotated[int | None, Field(ge=0, le=56)]
    eng_v2_published: Score
    eng_v2_computed_mean_task: Score
    eng_v2_mean_type: Score
    eng_v2_n_of_41: Annotated[int | None, Field(ge=0, le=41)]
    multilingual_v2_published: Score
    multilingual_v2_computed_mean_task: Score
    multilingual_v2_mean_type: Score
    multilingual_v2_n_of_131: Annotated[int | None, Field(ge=0, le=131)]
    published_v2_source: str | None
    eng_v2_retrieval: Score
    multilingual_v2_retrieval: Score
    retrieval_source: str | None
    zero_shot_pct_eng_v2: Score
    zero_shot_pct_multilingual_v2: Score
    notes: str | None

    @model_validator(mode="after")
    def _embedding_is_a_part(self) -> Self:
        if self.params_embedding and self.params_total and self.params_embedding > self.params_total:
            raise ValueError("params_embedding is larger than params_total")
        return self

    @property
    def name(self) -> str:
        """The short name: `bge-small-en-v1.5` of `BAAI/bge-small-en-v1.5`."""
        return self.hub_id.split("/")[1]

    @property
    def flop_per_token(self) -> float | None:
        """Twice the parameters outside the embedding tables: a product and a sum for each; attention comes on top."""
        if self.params_total is None or self.params_embedding is None:
            return None
        return 2.0 * (self.params_total - self.params_embedding)

    @property
    def prompts(self) -> dict[str, str]:
        """The text to put before a query and before a document; empty where none is needed or known.

        Instruction-tuned models take a task description; it is `DEFAULT_TASK` here.
        """
        return {
            "query": _prompt(self.query_prompt, DEFAULT_TASK),
            "document": _prompt(self.document_prompt, DEFAULT_TASK),
        }


def _prompt(cell: str | None, task: str) -> str:
    if cell is None or cell == "none":
        return ""
    return cell.replace("\\n", "\n").replace("{task}", task)


@cache
def cards(path: Path = FACTS / "models.csv") -> tuple[Card, ...]:
    """All models of the catalogue, in the order of the file.

    Raises:
        CourseError: a row does not validate, or a name occurs twice; names the file and the row.
    """
    rows: dict[str, Card] = {}
    for number, row in _rows(path, Card):
        if rows.setdefault(row.name.lower(), row) is not row:
            raise CourseError(f"{path.name}, row {number}: {row.name} is listed twice.")
    return tuple(rows.values())


def _rows(path: Path, model: type[Row]) -> Iterator[tuple[int, Row]]:
    """The validated rows of a file of facts, each with its number; an empty cell is None."""
    with path.open(encoding="utf-8", newline="") as file:
        for number, row in enumerate(csv.DictReader(file), start=2):
            try:
                yield number, model.model_validate({column: cell or None for column, cell in row.items()})
            except ValidationError as error:
                problem = error.errors()[0]
                column = ".".join(map(str, problem["loc"])) or "the row"
                raise CourseError(f"{path.name}, row {number}, {column}: {problem['msg']}.") from None


def find(name: str) -> Card | None:
    """The card of a full hub id or a short name, in any case; None if there is none."""
    wanted = name.strip().lower()
    return next((c for c in cards() if wanted in (c.hub_id.lower(), c.name.lower())), None)


def card(name: str) -> Card:
    """The facts about one model.

    Args:
        name: a full hub id (`BAAI/bge-m3`) or its short name (`bge-m3`), in any case.

    Raises:
        CourseError: the catalogue has no such model; proposes the nearest names.
    """
    if card := find(name):
        return card
    raise CourseError(f"{name!r} isn't in the catalogue.{nearest(name, [c.name for c in cards()])}")


class Price(BaseModel):
    """One price: a row of `facts/prices.csv`, in US dollars, with where and when it was read.

    `price_usd` is per million tokens (`kind` "api") or per hour of the whole machine ("gpu"); None is unknown.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["api", "gpu"]
    provider: str
    item: str
    price_usd: Annotated[float | None, Field(gt=0)]
    unit: str = Field(pattern=r"^per (1M (text )?tokens|hour( \([\d.]+ per GPU\))?)$")
    batch_price_usd: Annotated[float | None, Field(gt=0)]
    batch_discount: str | None
    free_tier: str | None
    region_or_tier: str | None
    monthly_730h_usd: float | None
    source: str
    source_date: str
    confidence: Literal["high", "medium", "low"]
    notes: str | None

    @property
    def name(self) -> str:
        """The provider and what it sells: `AWS g5.xlarge (1x A10G 24GB)`."""
        return f"{self.provider} {self.item}"


@cache
def prices(path: Path = FACTS / "prices.csv") -> tuple[Price, ...]:
    """All prices, in the order of the file; a row without a known price has `price_usd` None.

    Raises:
        CourseError: a row does not validate; names the file and the row.
    """
    return tuple(price for _, price in _rows(path, Price))
