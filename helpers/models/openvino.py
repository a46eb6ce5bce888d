"""OpenVINO in place of PyTorch, in float32 or int8 (extra `fast`)."""

import contextlib
import os
from typing import Any

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Transformer
from transformers import BertModel

from helpers import data
from helpers.bundled.cache import quiet
from helpers.bundled.runtime import LastHiddenState, RuntimeTransformer, bert_inputs
from helpers.errors import CourseError

CALIBRATION_TEXTS = 64


def to_openvino(model: SentenceTransformer, *, int8: bool = False) -> SentenceTransformer:
    """A BERT model run by OpenVINO on the CPU; tokenizer, pooling and prompts are the model's own.

    Args:
        model: a model whose first module is a BERT in float32.
        int8: quantise weights and activations with nncf, calibrated on the course's unlabelled texts.
            Vectors move: hold the result against the original on a retrieval set before you use it.

    Raises:
        CourseError: the extra `fast` isn't installed, or it is no BERT.
    """
    try:
        import openvino
    except ImportError:
        raise CourseError('OpenVINO is missing; install it with pip install "embedding-models-course[fast]".') from None
    only_bert(model)
    encoder: Any = model[0]
    sample = bert_inputs(encoder.preprocess(["a text", "and a somewhat longer one"]))
    with _silent():
        converted = openvino.convert_model(
            LastHiddenState(encoder.model.eval()),
            example_input=tuple(sample.values()),
            input=[openvino.PartialShape([-1, -1])] * 3,
        )
        if int8:
            converted = _quantised(converted, encoder)
    options = {
        "INFERENCE_PRECISION_HINT": "f32",
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "PERFORMANCE_HINT": "LATENCY",
    }
    compiled = openvino.Core().compile_model(converted, "CPU", options)
    run = RuntimeTransformer(
        lambda inputs: compiled(list(inputs.values()))[0],
        model[0],
        precision="int8" if int8 else "float32",
    )
    modules = [run, *list(model)[1:]]
    return SentenceTransformer(
        modules=modules, device="cpu", prompts={name: text or "" for name, text in model.prompts.items()}
    )


def only_bert(model: SentenceTransformer) -> None:
    """Refuse a model that no converter here takes.

    Raises:
        CourseError: it is no BERT.
    """
    encoder: Any = model[0]
    kind = type(encoder.model if isinstance(model[0], Transformer) else encoder)
    if kind is not BertModel:
        raise CourseError(f"Only a BERT can be converted, and this is {kind.__name__}; run it as it is.")


def _quantised(converted: Any, encoder: Any) -> Any:
    """The model in int8, its ranges taken from texts of all lengths."""
    import nncf

    texts = list(data.texts())
    sample = texts[:: max(1, len(texts) // CALIBRATION_TEXTS)][:CALIBRATION_TEXTS]
    features = [bert_inputs(encoder.preprocess([text])) for text in sample]
    samples = nncf.Dataset([tuple(tensor.numpy() for tensor in f.values()) for f in features])
    # Without VNNI or AMX, sums of 8-bit products overflow 16 bits; half the range for the weights avoids it.
    capabilities = torch.cpu.get_capabilities()
    safe = any(capabilities.get(name, False) for name in ("avx512_vnni", "avx_vnni", "amx_int8"))
    fix = nncf.OverflowFix.DISABLE if safe else nncf.OverflowFix.ENABLE
    options = nncf.AdvancedQuantizationParameters(overflow_fix=fix)
    return nncf.quantize(
        converted,
        samples,
        model_type=nncf.ModelType.TRANSFORMER,
        subset_size=len(sample),
        advanced_parameters=options,
    )


@contextlib.contextmanager
def _silent() -> Any:
    """Hold back what the converters print to their developers."""
    with (
        open(os.devnull, "w") as nothing,
        quiet(),
        contextlib.redirect_stdout(nothing),
        contextlib.redirect_stderr(nothing),
    ):
        yield
