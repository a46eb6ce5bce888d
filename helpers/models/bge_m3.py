"""BGE-M3 through FlagEmbedding's own class, on its real weights or on an offline stand-in.

`load` returns FlagEmbedding's `BGEM3FlagModel`: one model that gives a dense vector, lexical weights
and ColBERT vectors. Where BGE-M3's weights can't be had, the stand-in is MiniLM: its weights moved
without loss into the classes that BGE-M3 is made of (XLM-RoBERTa), with a sparse and a ColBERT head
fitted on the course's unlabelled texts. That is a real model, "MiniLM with three heads", and its
numbers are its own, never BGE-M3's. Every other model is loaded by `models`.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from FlagEmbedding import BGEM3FlagModel
from huggingface_hub import snapshot_download
from huggingface_hub.errors import LocalEntryNotFoundError
from numpy.typing import NDArray
from transformers import AutoModel, AutoTokenizer, XLMRobertaConfig, XLMRobertaModel

from helpers import bundled, data, models
from helpers.catalog import Card, card
from helpers.errors import CourseError, OutOfReachError
from helpers.models import hub

HUB_ID = "BAAI/bge-m3"
STAND_IN = "MiniLM with three heads"
SOURCES = ("auto", "hub", "stand-in")
HEADS = ("sparse_linear.pt", "colbert_linear.pt")

# What FlagEmbedding reads. Whole names: a pattern such as *.json would fetch files of the ONNX copy as well.
FILES = (
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "sentencepiece.bpe.model",
    "model.safetensors",
    "pytorch_model.bin",
    *HEADS,
)

MAX_TOKENS = 512  # rows of MiniLM's position table
RIDGE = 10.0  # penalty of the regression


def load(source: str = "auto", *, device: str | None = None, use_fp16: bool = False, **options: Any) -> Any:
    """Load BGE-M3 as FlagEmbedding's `BGEM3FlagModel`, and print once what its weights are.

    Args:
        source: "auto" takes the pinned weights from the hub's local cache, else from the hub, else the
            stand-in, with a notice. "hub" and "stand-in" take that and nothing else.
        device: "cuda", "cuda:1", "mps" or "cpu"; None takes the best there is.
        use_fp16: round the weights to half precision; FlagEmbedding's own default is True.
        **options: further arguments of `BGEM3FlagModel`, such as `passage_max_length`.

    Returns:
        The model; `models.weights` tells its `Weights`.

    Raises:
        CourseError: no such source or device, or weights out of reach.
    """
    if source not in SOURCES:
        raise CourseError(f"source is {source!r}; it must be one of {', '.join(SOURCES)}.")
    device = models.choose_device(device)
    facts = card(HUB_ID)
    try:
        real = None if source == "stand-in" else _snapshot(facts)
    except OutOfReachError as refusal:
        if source == "hub":
            raise
        print(refusal)
        real = None
    if real is None and source == "hub":
        raise CourseError(
            f"{HUB_ID}: its weights aren't complete in the local cache and the hub doesn't answer; connect once "
            "to download them, or take source='stand-in'."
        )
    with bundled.quiet():
        model: Any = BGEM3FlagModel(
            str(real or folder()),
            use_fp16=use_fp16,
            devices=device,
            **{"pooling_method": "cls" if real else "mean"} | options,
        )
    standing_in = models.Weights("stand-in", f"{STAND_IN}; says nothing of BGE-M3's quality")
    models.mark(model, models.Weights("hub", f"revision {str(facts.revision)[:12]}") if real else standing_in)
    models.announce(HUB_ID, model)
    return model


def label(model: Any) -> str:
    """What to call numbers measured on a loaded model: "BGE-M3" on real weights, else `STAND_IN`."""
    return "BGE-M3" if models.weights(model).real else STAND_IN


def max_tokens(model: Any) -> int:
    """How many tokens a loaded model has positions for, the special ones included."""
    shape = model.model.model.config
    return int(shape.max_position_embeddings - shape.pad_token_id - 1)


def code() -> str:
    """The Python that loads BGE-M3's real weights, pinned, without this course."""
    facts = card(HUB_ID)
    return "\n".join(
        [
            "from FlagEmbedding import BGEM3FlagModel",
            "from huggingface_hub import snapshot_download",
            "",
            "# BGEM3FlagModel takes no revision, so the pinned files are fetched first",
            "folder = snapshot_download(",
            f"    {HUB_ID!r},",
            f"    revision={facts.revision!r},",
            "    allow_patterns=[",
            *(f"        {name!r}," for name in FILES),
            "    ],",
            ")",
            "model = BGEM3FlagModel(folder, use_fp16=True)  # on a CPU: use_fp16=False",
        ]
    )


def folder() -> Path:
    """The folder of the stand-in, built once: MiniLM in XLM-RoBERTa's classes, with both heads.

    Raises:
        CourseError: MiniLM's weights aren't the published ones, or the cache can't be written.
    """
    return bundled.cached(f"{bundled.MINILM}-three-heads", _build)


def _snapshot(facts: Card) -> Path | None:
    """The folder of the pinned weights: from the local cache, else from the hub; None if out of reach."""
    if facts.revision is None:
        return None
    wanted: dict[str, Any] = {"revision": facts.revision, "allow_patterns": list(FILES)}
    try:
        snapshot = Path(snapshot_download(facts.hub_id, local_files_only=True, **wanted))
        if _complete(snapshot):
            return snapshot
    except LocalEntryNotFoundError:
        pass
    if not hub.hub_reachable():
        return None
    try:
        snapshot = Path(snapshot_download(facts.hub_id, **wanted))
    except Exception as error:  # a refusal, a broken connection (httpx has errors of its own), a full disk
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise OutOfReachError(f"{facts.hub_id} at revision {facts.revision[:12]} can't be loaded: {first}") from error
    if not _complete(snapshot):
        raise OutOfReachError(
            f"{facts.hub_id} at revision {facts.revision[:12]} lacks a file that FlagEmbedding needs."
        )
    return snapshot


def _complete(snapshot: Path) -> bool:
    """Whether a folder has the weights and both heads; without a head FlagEmbedding draws one at random."""
    weights = any((snapshot / name).exists() for name in ("model.safetensors", "pytorch_model.bin"))
    return weights and all((snapshot / name).exists() for name in ("config.json", "tokenizer.json", *HEADS))


def _build(fresh: Path) -> None:
    """Write the stand-in's files."""
    encoder = _as_xlm_roberta()
    encoder.save_pretrained(fresh)
    tokenizer = AutoTokenizer.from_pretrained(bundled.minilm_folder())
    tokenizer.eos_token = tokenizer.sep_token  # FlagEmbedding leaves cls, eos, pad and unk out of lexical scores
    tokenizer.model_max_length = MAX_TOKENS
    tokenizer.save_pretrained(fresh)
    hidden, idf = _training_tokens(encoder, tokenizer)
    torch.save(_sparse_head(hidden, idf), fresh / HEADS[0])
    torch.save(_colbert_head(hidden), fresh / HEADS[1])


def _as_xlm_roberta() -> XLMRobertaModel:
    """MiniLM's encoder in XLM-RoBERTa's class, every hidden state the same to the last bit.

    XLM-RoBERTa counts positions from padding_idx + 1, so MiniLM's rows move down by that; it has one
    token type, MiniLM's first.
    """
    bert = AutoModel.from_pretrained(bundled.minilm_folder(), add_pooling_layer=False)
    shape = bert.config
    shift = shape.pad_token_id + 1
    same = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
    encoder = XLMRobertaModel(
        XLMRobertaConfig(
            **{name: getattr(shape, name) for name in (*same, "hidden_act", "layer_norm_eps", "pad_token_id")},
            max_position_embeddings=shape.max_position_embeddings + shift,
            type_vocab_size=1,
        ),
        add_pooling_layer=False,
    )
    weights = bert.state_dict()
    positions, types = (f"embeddings.{kind}_embeddings.weight" for kind in ("position", "token_type"))
    weights[positions] = torch.cat([torch.zeros(shift, shape.hidden_size), weights[positions]])
    weights[types] = weights[types][:1]
    encoder.load_state_dict(weights)
    encoder.eval()
    return encoder


def _training_tokens(encoder: XLMRobertaModel, tokenizer: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(tokens, 384) hidden states and (tokens,) inverse document frequencies over the unlabelled texts."""
    texts = data.texts()
    special = [tokenizer.cls_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id, tokenizer.unk_token_id]
    rows = tokenizer(list(texts), truncation=True, max_length=MAX_TOKENS)["input_ids"]
    frequency = np.zeros(len(tokenizer))
    for ids in rows:
        frequency[np.unique(ids)] += 1
    hidden, tokens = [], []
    with torch.inference_mode():
        for ids in rows:
            states = encoder(input_ids=torch.tensor([ids])).last_hidden_state[0].numpy()
            keep = ~np.isin(ids, special)
            hidden.append(states[keep])
            tokens.append(np.asarray(ids)[keep])
    return np.concatenate(hidden).astype(np.float64), np.log(len(texts) / frequency[np.concatenate(tokens)])


def _sparse_head(hidden: NDArray[np.float64], idf: NDArray[np.float64]) -> dict[str, torch.Tensor]:
    """Ridge regression from hidden state to inverse document frequency, 1 for a token of one text only."""
    centre, level = hidden.mean(axis=0), idf.mean()
    centred = hidden - centre
    slope = np.linalg.solve(centred.T @ centred + RIDGE * np.eye(hidden.shape[1]), centred.T @ (idf - level))
    largest = float(idf.max())
    return {
        "weight": torch.tensor(slope / largest, dtype=torch.float32)[None],
        "bias": torch.tensor([(level - centre @ slope) / largest], dtype=torch.float32),
    }


def _colbert_head(hidden: NDArray[np.float64]) -> dict[str, torch.Tensor]:
    """Hidden states less their mean, so that what all tokens share doesn't make them alike."""
    return {
        "weight": torch.eye(hidden.shape[1]),
        "bias": torch.tensor(-hidden.mean(axis=0), dtype=torch.float32),
    }
