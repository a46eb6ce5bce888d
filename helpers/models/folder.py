"""Look at a model folder of the reader's own before it is loaded: is it whole, one model, and free of code?

Each finding is a sentence with the file and the mend. What is only known afterwards (a vocabulary that isn't the
model's) is `fits`.
"""

import json
import pickle
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from sentence_transformers import SentenceTransformer

from helpers.errors import CourseError

HEADER_BYTES = 100_000_000  # of a safetensors file, as the format's own reader has it
SIZES: tuple[str, ...] = ("vocab_size", "hidden_size", "num_hidden_layers", "intermediate_size", "num_attention_heads")
SIZES += ("max_position_embeddings",)
LARGEST = 10_000_000  # of each of them; the largest vocabularies have about a million
TOKENIZERS = ("tokenizer.json", "vocab.txt", "vocab.json", "spiece.model", "tokenizer.model", "sentencepiece.bpe.model")
LFS = b"version https://git-lfs"


def check(path: Path, *, trust_remote_code: bool = False) -> None:
    """Refuse a folder that can't be loaded as what it says it is; says aloud where weights are pickled.

    Raises:
        CourseError: a file is missing, cut off, of another model or no such file; sizes are absurd; or the folder
            brings code and `trust_remote_code` is False.
    """
    modules = _modules(path)
    folders = [path / str(module.get("path", "")) for module in modules] if modules else [path]
    configs = {folder / "config.json": _json(folder / "config.json") for folder in dict.fromkeys([path, *folders])}
    if not trust_remote_code:
        for code in _code(path, modules):
            raise CourseError(
                f"{code}, which runs code of the folder's own; read it, then pass trust_remote_code=True."
            )
    for file in sorted(path.rglob("*.safetensors")):
        _tensors(file)
    for file in sorted([*path.rglob("pytorch_model*.bin"), *path.rglob("adapter_model.bin")]):
        if not file.with_name("model.safetensors").exists():
            _pickled(file)
    for file, config in configs.items():
        if isinstance(config, dict) and "model_type" in config:
            _sizes(file, config)
            _transformer(file.parent, path, config)


def fits(path: Path, model: SentenceTransformer) -> None:
    """Refuse a model whose tokenizer is of another: its ids would be of other words, or of none.

    Raises:
        CourseError: the tokenizer has more tokens than the model has vectors, or fewer than half as many.
    """
    config = getattr(getattr(model[0], "model", None), "config", None)
    vectors: Any = getattr(config, "vocab_size", None)
    tokens: Any = getattr(model, "tokenizer", None)
    if not isinstance(vectors, int) or not hasattr(tokens, "__len__"):
        return
    if not vectors / 2 <= len(tokens) <= vectors:
        raise CourseError(
            f"{path}: the tokenizer knows {len(tokens):,} tokens and the model {vectors:,}, so they aren't of one "
            "model; copy the folder again, with all its tokenizer files."
        )


def _json(file: Path) -> Any:
    """What a JSON file holds; None if there is none."""
    if not file.exists():
        return None
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError, OSError) as error:
        raise CourseError(f"{file} can't be read ({type(error).__name__}); copy it again.") from None


def _modules(path: Path) -> list[dict[str, Any]]:
    modules = _json(path / "modules.json")
    if modules is None:
        return []
    if not isinstance(modules, list) or not all(isinstance(module, dict) for module in modules):
        raise CourseError(f"{path / 'modules.json'} is no list of modules; copy it again.")
    for module in modules:
        named = module.get("path", "")
        if not _is_a_path(named):
            raise CourseError(f"{path / 'modules.json'} names a module's folder by {str(named)[:40]!r}; copy it again.")
        inside = (path / named).absolute()
        if ".." in Path(named).parts or not inside.is_relative_to(path.absolute()):
            raise CourseError(f"{path / 'modules.json'} names {module['path']!r}, which lies outside the folder.")
    return modules


def _is_a_path(named: Any) -> bool:
    """Whether a file system can have it: text without NUL and halves of characters, no part of it too long."""
    try:
        return "\0" not in named and all(len(part.encode()) <= 255 for part in Path(named).parts)
    except (TypeError, UnicodeEncodeError):
        return False


def _code(path: Path, modules: list[dict[str, Any]]) -> Iterator[str]:
    """What in the folder would run code that isn't of an installed library."""
    for file in sorted([*path.rglob("config.json"), *path.rglob("*_config.json")]):
        content = _json(file)
        if isinstance(content, dict) and "auto_map" in content:
            yield f"{file} has an auto_map"
    for module in modules:
        if not str(module.get("type", "")).startswith("sentence_transformers."):
            yield f"{path / 'modules.json'} names the class {module.get('type')!r}"


def _tensors(file: Path) -> dict[str, Any]:
    """The tensors of a safetensors file by name: dtype, shape, place; the file is whole."""
    size = file.stat().st_size
    with file.open("rb") as opened:
        start = opened.read(len(LFS))
        if start == LFS:
            raise CourseError(f"{file} is a pointer of Git LFS and no weights; run `git lfs pull` where it came from.")
        opened.seek(0)
        (length,) = struct.unpack("<Q", opened.read(8)) if size >= 8 else (size,)
        if length > min(HEADER_BYTES, size - 8):
            raise CourseError(f"{file} is no safetensors file, or its header is cut off; copy it again.")
        try:
            header = json.loads(opened.read(length))
            tensors = {name: facts for name, facts in header.items() if name != "__metadata__"}
            end = max((facts["data_offsets"][1] for facts in tensors.values()), default=0)
            wanted = 8 + length + int(end)
        except (ValueError, TypeError, KeyError, AttributeError, IndexError, RecursionError):
            raise CourseError(f"{file} is no safetensors file: its header isn't one; copy it again.") from None
    if size != wanted:
        raise CourseError(f"{file} has {size:,} bytes, and its header says {wanted:,}; copy it again.")
    return tensors


def _pickled(file: Path) -> None:
    """Pickled weights hold numbers only, by torch's own safe loader; said aloud."""
    try:
        torch.load(file, map_location="meta", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, ValueError, EOFError, AttributeError, OSError, KeyError, TypeError):
        raise CourseError(
            f"{file} is cut off, or holds more than numbers, which could run code, so it isn't loaded; take "
            "the model's safetensors file instead."
        ) from None
    print(f"{file.name} is pickled; torch's safe loader reads it, which takes numbers alone. Safetensors is safer.")


def _sizes(file: Path, config: dict[str, Any]) -> None:
    for name in SIZES:
        value = config.get(name, 1)
        if type(value) is not int or not 1 <= value <= LARGEST:
            shown = str(value)[:40]
            raise CourseError(f"{file}: {name} is {shown}; it must be a whole number from 1 to {LARGEST:,}.")


def _transformer(folder: Path, path: Path, config: dict[str, Any]) -> None:
    """A transformer's folder has a tokenizer, and weights that hold about as many numbers as the sizes ask for."""
    if not any((place / name).exists() for place in (folder, path) for name in TOKENIZERS):
        raise CourseError(f"{folder} has no tokenizer (tokenizer.json or vocab.txt); copy it from where the model is.")
    weights = sorted(folder.glob("*.safetensors"))
    held = sum(file.stat().st_size for file in [*weights, *folder.glob("pytorch_model*.bin")])
    if not held:
        return  # an adapter, or another runtime's weights: the library says what is missing
    vocab, width, layers = (int(config.get(name, 0)) for name in SIZES[:3])
    asked = vocab * width + layers * (4 * width**2 + 2 * width * int(config.get("intermediate_size", 0)))
    if asked > 3 * held + LARGEST:  # a number takes at least a third of a byte
        raise CourseError(
            f"{folder / 'config.json'} asks for about {asked:,} parameters, and the weights have {held:,} bytes; "
            "the two aren't of one model."
        )
    if weights and vocab and width and not any(_embeds(_tensors(file), vocab, width) for file in weights):
        raise CourseError(
            f"{weights[0]} holds no vectors of {vocab:,} tokens, which {folder / 'config.json'} asks for; it is of "
            "another model."
        )


def _embeds(tensors: dict[str, Any], vocab: int, width: int) -> bool:
    """Whether a tensor can be the token embeddings: a row a token; some models' are narrower than their layers."""
    shapes = [facts.get("shape") for facts in tensors.values()]
    return any(len(s) == 2 and s[0] == vocab and s[1] <= width for s in shapes if isinstance(s, list))
