"""A model folder of the reader's own is looked at before it is loaded: what is wrong is one sentence with the mend."""

import json
import os
import pickle
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer

from helpers import models
from helpers.errors import CourseError


@pytest.fixture(scope="module")
def whole(minilm: SentenceTransformer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small BERT with MiniLM's tokenizer, as Sentence Transformers saves it."""
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from transformers import BertConfig, BertModel

    path = tmp_path_factory.mktemp("folder") / "whole"
    torch.manual_seed(0)
    encoder = Transformer(minilm[0].model.config._name_or_path)
    shape: dict[str, Any] = {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 32}
    encoder.model = BertModel(BertConfig(vocab_size=len(minilm.tokenizer), num_hidden_layers=1, **shape)).eval()
    SentenceTransformer(modules=[encoder, Pooling(16)], device="cpu").save(str(path))
    return path


def edit(file: Path, **changes: object) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def transformer(path: Path) -> Path:
    """The folder in which the transformer's config.json lies."""
    return next(file.parent for file in path.rglob("config.json"))


def cut(path: Path) -> None:
    file = next(path.rglob("*.safetensors"))
    file.write_bytes(file.read_bytes()[:-1000])


def header(path: Path) -> None:
    next(path.rglob("*.safetensors")).write_bytes(struct.pack("<Q", 2**62) + b"{}")


def pointer(path: Path) -> None:
    next(path.rglob("*.safetensors")).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")


def foreign(path: Path) -> None:
    save_file({"layer.weight": torch.zeros(30, 16)}, next(path.rglob("*.safetensors")))


def linked(path: Path) -> None:
    file = next(path.rglob("*.safetensors"))
    file.unlink()
    file.symlink_to("/etc/hostname")


def no_tokenizer(path: Path) -> None:
    for file in [*path.rglob("token*"), *path.rglob("vocab*"), *path.rglob("special*")]:
        file.unlink()


def other_tokenizer(path: Path) -> None:
    file = next(path.rglob("tokenizer.json"))
    content = json.loads(file.read_text())
    vocab = content["model"]["vocab"]
    content["model"]["vocab"] = dict(sorted(vocab.items(), key=lambda pair: pair[1])[:200])
    file.write_text(json.dumps(content))


class Evil:
    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return os.system, ("touch evil-ran",)


def pickled(path: Path) -> None:
    file = next(path.rglob("*.safetensors"))
    torch.save(load_file(file), file.with_name("pytorch_model.bin"))
    file.unlink()


def evil(path: Path) -> None:
    file = next(path.rglob("*.safetensors"))
    file.with_name("pytorch_model.bin").write_bytes(pickle.dumps(Evil()))
    file.unlink()


def sized(**sizes: object) -> Callable[[Path], None]:
    return lambda path: edit(transformer(path) / "config.json", **sizes)


def module(**changes: str) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        modules = json.loads((path / "modules.json").read_text())
        modules[0] |= changes
        (path / "modules.json").write_text(json.dumps(modules))

    return change


def broken_json(path: Path) -> None:
    (transformer(path) / "config.json").write_text('{"model_type": ')


WRONG: dict[str, tuple[Callable[[Path], None], str]] = {
    "weights cut off": (cut, "bytes, and its header says"),
    "a header of 2^62": (header, "no safetensors file"),
    "a pointer of Git LFS": (pointer, "git lfs pull"),
    "weights of another model": (foreign, "it is of another model"),
    "weights that are a link to something else": (linked, "no safetensors file"),
    "no tokenizer": (no_tokenizer, "has no tokenizer"),
    "a tokenizer of 200 tokens": (other_tokenizer, "aren't of one model"),
    "pickled code": (evil, "holds more than numbers"),
    "10,000 layers": (sized(num_hidden_layers=10_000), "aren't of one model"),
    "a vocabulary of 10^10": (sized(vocab_size=10**10), "vocab_size is 10000000000"),
    "-1 layers": (sized(num_hidden_layers=-1), "num_hidden_layers is -1"),
    "a width that is a text": (sized(hidden_size="16"), "hidden_size is 16"),
    "a width that isn't the weights'": (sized(hidden_size=8), "another model"),
    "code of its own": (sized(auto_map={"AutoModel": "evil.Evil"}), "trust_remote_code=True"),
    "a module of its own": (module(type="evil.Evil"), "trust_remote_code=True"),
    "os.system for a module": (module(type="os.system"), "trust_remote_code=True"),
    "a module outside": (module(path="../../../etc"), "outside the folder"),
    "a config that is cut off": (broken_json, "can't be read"),
    "an unknown model type": (sized(model_type="no such type"), "can't be loaded"),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_folder_that_is_not_one_whole_model_is_refused_with_the_mend(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    spoil, told = WRONG[what]
    path = Path(shutil.copytree(whole, tmp_path / "copy"))
    spoil(path)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CourseError) as caught:
        models.load(str(path), device="cpu")
    assert told in str(caught.value) and str(path) in str(caught.value)
    assert not list(tmp_path.rglob("evil-ran"))


@pytest.mark.parametrize("named", [{"a": 1}, ["x"], 7, "a" * 300, "a\0b", "\ud800"])
def test_a_module_s_folder_that_no_file_system_can_have_is_refused(whole: Path, tmp_path: Path, named: Any) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(whole, copy)
    modules = json.loads((copy / "modules.json").read_text())
    modules[0]["path"] = named
    (copy / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(CourseError, match="names a module's folder by"):
        models.load(str(copy), device="cpu")


def test_a_whole_folder_loads_and_so_does_one_of_links_as_the_hubs_cache_has_it(whole: Path, tmp_path: Path) -> None:
    models.load(str(whole), device="cpu")
    snapshot, blobs = tmp_path / "snapshots" / "abc", tmp_path / "blobs"
    blobs.mkdir()
    for number, file in enumerate(file for file in whole.rglob("*") if file.is_file()):
        place = snapshot / file.relative_to(whole)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, blobs / f"{number:064}")
        place.symlink_to(blobs / f"{number:064}")
    assert models.weights(models.load(str(snapshot), device="cpu")).kind == "local"


def test_pickled_weights_load_by_the_safe_loader_and_it_is_said(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = Path(shutil.copytree(whole, tmp_path / "copy"))
    pickled(path)
    made = models.load(str(path), device="cpu")
    assert "safe loader" in capsys.readouterr().out
    right = SentenceTransformer(str(whole), device="cpu").encode(["a cat"])
    assert made.encode(["a cat"]) == pytest.approx(right, abs=1e-6)


def test_a_plain_transformers_folder_loads(whole: Path, tmp_path: Path) -> None:
    path = tmp_path / "plain"
    shutil.copytree(transformer(whole), path, ignore=shutil.ignore_patterns("modules.json", "sentence_*", "1_Pooling"))
    assert (path / "config.json").exists() and not (path / "modules.json").exists()
    assert models.load(str(path), device="cpu").encode(["a"]).shape == (1, 16)


@pytest.mark.parametrize("name", ["static-minilm", "all-MiniLM-L6-v2"])
def test_what_sentence_transformers_saves_of_the_bundled_models_loads(tmp_path: Path, name: str) -> None:
    from helpers import bundled

    if name not in bundled.MODELS:
        name = next(known for known in bundled.MODELS if "static" in known)
    models.load(name, device="cpu").save(str(tmp_path / "saved"))
    assert models.load(str(tmp_path / "saved"), device="cpu").encode(["a cat"]).shape[0] == 1
