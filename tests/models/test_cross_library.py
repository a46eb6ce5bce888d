"""The same MiniLM weights through Sentence Transformers, transformers and FlagEmbedding: where they agree, and why not.

Vectors are compared coordinate by coordinate; unit vectors of 384 numbers have coordinates of about 0.05.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
from FlagEmbedding import FlagAutoModel, FlagModel
from sentence_transformers import SentenceTransformer, util
from tokenizers import Tokenizer
from transformers import AutoModel, AutoTokenizer, PreTrainedTokenizerBase

from helpers import bundled, catalog, data

BOUND = 1e-5  # fp32
FOLDER = str(bundled.minilm_folder())
INSTRUCTION = catalog.card("bge-small-en-v1.5").prompts["query"]
QUERIES = list(data.retrieval().queries.values())[:4]
LONG = " ".join(data.texts()[:10])


def flag_model(**options: Any) -> FlagModel:
    with bundled.quiet():
        return FlagModel(
            FOLDER, **{"pooling_method": "mean", "use_fp16": False, "devices": "cpu", "batch_size": 16} | options
        )


@pytest.fixture(scope="module")
def flag() -> FlagModel:
    return flag_model(query_instruction_for_retrieval=INSTRUCTION)


@pytest.fixture(scope="module")
def texts(minilm: SentenceTransformer) -> list[str]:
    """Course texts of every kind and length that no library cuts."""
    some = [*data.pairs().sentence1[::100], *list(data.retrieval().corpus.values())[:3], *data.texts()[::80]]
    return [text for text in some if len(minilm.tokenizer(text)["input_ids"]) <= 256]


def difference(one: Any, other: Any) -> float:
    return float(np.abs(np.asarray(one) - np.asarray(other)).max())


def by_transformers(texts: list[str], **options: Any) -> np.ndarray:
    """Mean pooling and unit length by hand, without either library."""
    tokenizer, encoder = AutoTokenizer.from_pretrained(FOLDER), AutoModel.from_pretrained(FOLDER).eval()
    rows = []
    for start in range(0, len(texts), 16):
        batch = tokenizer(texts[start : start + 16], padding=True, return_tensors="pt", **options)
        with torch.inference_mode():
            hidden = encoder(**batch).last_hidden_state
        mask = batch["attention_mask"].unsqueeze(-1)
        rows.append(torch.nn.functional.normalize((hidden * mask).sum(dim=1) / mask.sum(dim=1), dim=1))
    return torch.cat(rows).numpy()


# The same vectors


def test_three_libraries_give_the_same_vectors(minilm: SentenceTransformer, flag: FlagModel, texts: list[str]) -> None:
    ordered = sorted(texts, key=len)  # spares padding where the library doesn't sort
    expected = minilm.encode(ordered)
    assert expected.dtype == np.float32 and len(ordered) > 10
    assert difference(flag.encode(ordered), expected) < BOUND
    assert difference(by_transformers(ordered), expected) < BOUND


def test_the_automatic_class_gives_them_too(minilm: SentenceTransformer) -> None:
    with bundled.quiet():
        auto = FlagAutoModel.from_finetuned(
            FOLDER, model_class="encoder-only-base", pooling_method="mean", use_fp16=False, devices="cpu"
        )
    assert isinstance(auto, FlagModel)
    assert difference(auto.encode(QUERIES), minilm.encode(QUERIES)) < BOUND


# Pooling: Sentence Transformers reads it from the folder, FlagEmbedding takes CLS unless told


def test_flag_model_takes_cls_though_the_folder_asks_for_the_mean(minilm: SentenceTransformer) -> None:
    config = json.loads((Path(FOLDER) / "1_Pooling" / "config.json").read_text(encoding="utf-8"))
    assert config["pooling_mode_mean_tokens"] and not config["pooling_mode_cls_token"]
    with bundled.quiet():
        untold = FlagModel(FOLDER, use_fp16=False, devices="cpu")
    assert untold.pooling_method == "cls"
    assert util.pairwise_cos_sim(untold.encode(QUERIES), minilm.encode(QUERIES)).max() < 0.9


def test_flag_model_accepts_a_misspelt_argument_and_a_revision_without_using_them() -> None:
    with bundled.quiet():
        misspelt = FlagModel(FOLDER, pooling_mode="mean", revision="no such revision", devices="cpu")
    assert misspelt.pooling_method == "cls" and misspelt.revision == "no such revision"


def test_the_automatic_class_goes_by_the_name_and_knows_the_whole_family() -> None:
    from FlagEmbedding.inference.embedder.model_mapping import AUTO_EMBEDDER_MAPPING

    with pytest.raises(ValueError, match="not found in the model mapping"):
        FlagAutoModel.from_finetuned(FOLDER)
    for name in ("bge-small-en-v1.5", "bge-base-en-v1.5", "bge-large-en-v1.5", "bge-m3"):
        assert AUTO_EMBEDDER_MAPPING[name].pooling_method.value == catalog.card(name).pooling == "cls"


# White space: neither library touches the text; BERT's tokenizer ignores how much there is


def texts_given_to_the_tokenizer(encode: Callable[[], Any]) -> list[str]:
    seen: list[str] = []
    original = PreTrainedTokenizerBase.__call__

    def spy(self: Any, text: Any = None, *args: Any, **kwargs: Any) -> Any:
        seen.extend([text] if isinstance(text, str) else text)
        return original(self, text, *args, **kwargs)

    with patch.object(PreTrainedTokenizerBase, "__call__", spy):
        encode()
    return seen


def test_neither_library_strips_or_joins_lines(minilm: SentenceTransformer, flag: FlagModel) -> None:
    text = "  two  spaces\nand a line\r\nand\ta tab \n"
    assert texts_given_to_the_tokenizer(lambda: minilm.encode([text])) == [text]
    assert texts_given_to_the_tokenizer(lambda: flag.encode([text])) == [text]


@pytest.mark.parametrize("text", ["a\nb", "a\r\nb", "a\tb", "  a   b  ", "\n\na b\n"])
def test_for_bert_any_white_space_is_one_gap(minilm: SentenceTransformer, flag: FlagModel, text: str) -> None:
    assert difference(minilm.encode([text]), minilm.encode(["a b"])) < BOUND
    assert difference(flag.encode([text]), minilm.encode(["a b"])) < BOUND


def test_an_empty_text_is_two_special_tokens_in_both(minilm: SentenceTransformer, flag: FlagModel) -> None:
    assert minilm.preprocess([""])["input_ids"].shape == (1, 2)
    assert difference(flag.encode(["", " \n"]), minilm.encode(["", ""])) < BOUND


# fp16: FlagEmbedding's default; on a CPU the arithmetic is fp32, with weights rounded to half precision


def test_flag_model_rounds_the_weights_by_default_and_computes_in_fp32_on_a_cpu(minilm: SentenceTransformer) -> None:
    with bundled.quiet():
        half = FlagModel(FOLDER, pooling_method="mean", devices="cpu")
        rounded = SentenceTransformer(FOLDER, device="cpu", model_kwargs={"dtype": torch.float16}).float()
    assert half.use_fp16 and next(half.model.parameters()).dtype == torch.float16
    vectors = half.encode(QUERIES)
    assert vectors.dtype == np.float32 and next(half.model.parameters()).dtype == torch.float32
    assert BOUND < difference(vectors, minilm.encode(QUERIES)) < 2e-3
    assert difference(vectors, rounded.encode(QUERIES)) < BOUND


def test_sentence_transformers_in_fp16_returns_half_precision_vectors(minilm: SentenceTransformer) -> None:
    with bundled.quiet():
        half = SentenceTransformer(FOLDER, device="cpu", model_kwargs={"dtype": torch.float16})
    vectors = half.encode(QUERIES)
    assert vectors.dtype == np.float16
    assert BOUND < difference(vectors, minilm.encode(QUERIES)) < 5e-3


# The instruction: queries only in both; each library has its own place for it


def test_both_libraries_put_the_instruction_before_queries_only(minilm: SentenceTransformer, flag: FlagModel) -> None:
    prompted = SentenceTransformer(modules=[*minilm], device="cpu", prompts={"query": INSTRUCTION})
    glued = minilm.encode([INSTRUCTION + query for query in QUERIES])
    assert difference(prompted.encode_query(QUERIES), glued) < BOUND
    assert difference(flag.encode_queries(QUERIES), glued) < BOUND
    for as_it_is in (prompted.encode_document, prompted.encode, flag.encode_corpus, flag.encode):
        assert difference(as_it_is(QUERIES), minilm.encode(QUERIES)) < BOUND
    assert util.pairwise_cos_sim(glued, minilm.encode(QUERIES)).max() < 0.95


def test_the_text_that_reaches_the_tokenizer_is_instruction_and_query_without_a_space_between(
    minilm: SentenceTransformer, flag: FlagModel
) -> None:
    expected = [INSTRUCTION + "shoes"]
    assert texts_given_to_the_tokenizer(lambda: flag.encode_queries(["shoes"])) == expected
    seen = texts_given_to_the_tokenizer(lambda: minilm.encode(["shoes"], prompt=INSTRUCTION))
    assert set(seen) <= {*expected, INSTRUCTION}  # Sentence Transformers measures the prompt's length, once


def test_a_forgotten_space_matters_only_where_no_punctuation_ends_the_instruction(
    minilm: SentenceTransformer, flag: FlagModel
) -> None:
    tokens = minilm.tokenizer.tokenize
    assert tokens(INSTRUCTION.strip() + "shoes") == tokens(INSTRUCTION + "shoes")
    assert tokens("query" + "shoes") != tokens("query " + "shoes")
    careless = flag.encode(["shoes"], instruction="query", instruction_format="{}{}")
    assert difference(careless, minilm.encode(["queryshoes"])) < BOUND


def test_flag_model_has_a_template_in_which_backslash_n_becomes_a_line_break(minilm: SentenceTransformer) -> None:
    glue = FlagModel.get_detailed_instruct
    assert glue("{}{}", "q: ", "a {brace} stays") == "q: a {brace} stays"
    assert glue("Instruct: {}\\nQuery: {}", "find", "shoes") == "Instruct: find\nQuery: shoes"
    literal = minilm.encode(["shoes"], prompt="Instruct: find\\nQuery: ")
    broken = minilm.encode(["shoes"], prompt="Instruct: find\nQuery: ")
    assert difference(literal, broken) > BOUND


def test_flag_model_gives_documents_an_instruction_only_by_a_keyword_of_its_own(minilm: SentenceTransformer) -> None:
    e5 = flag_model(query_instruction_for_retrieval="query: ", passage_instruction_for_retrieval="passage: ")
    assert difference(e5.encode_corpus(QUERIES), minilm.encode(QUERIES, prompt="passage: ")) < BOUND
    assert difference(e5.encode_queries(QUERIES), minilm.encode(QUERIES, prompt="query: ")) < BOUND


def test_prompts_saved_in_a_folder_reach_sentence_transformers_and_not_flag_model(
    tmp_path: Path, minilm: SentenceTransformer
) -> None:
    for file in Path(FOLDER).iterdir():
        (tmp_path / file.name).symlink_to(file)
    (tmp_path / "config_sentence_transformers.json").unlink()
    config = {"prompts": {"query": INSTRUCTION}}
    (tmp_path / "config_sentence_transformers.json").write_text(json.dumps(config), encoding="utf-8")
    with bundled.quiet():
        model = SentenceTransformer(str(tmp_path), device="cpu", local_files_only=True)
        other = FlagModel(str(tmp_path), pooling_method="mean", use_fp16=False, devices="cpu")
    assert difference(model.encode_query(QUERIES), minilm.encode(QUERIES, prompt=INSTRUCTION)) < BOUND
    assert difference(other.encode_queries(QUERIES), minilm.encode(QUERIES)) < BOUND


# Truncation: four programs, four lengths


def test_each_library_cuts_at_a_length_of_its_own(minilm: SentenceTransformer, flag: FlagModel) -> None:
    tokenizer = AutoTokenizer.from_pretrained(FOLDER)
    whole = len(tokenizer(LONG, verbose=False)["input_ids"])
    assert whole > 512  # transformers cuts nothing unless asked
    assert len(tokenizer(LONG, truncation=True)["input_ids"]) == tokenizer.model_max_length == 512
    assert flag.query_max_length == flag.passage_max_length == 512
    assert minilm.preprocess([LONG])["input_ids"].shape == (1, minilm.max_seq_length) == (1, 256)
    assert len(Tokenizer.from_file(f"{FOLDER}/tokenizer.json").encode(LONG).ids) == 128


def test_cut_at_the_same_length_long_texts_agree(minilm: SentenceTransformer, flag: FlagModel) -> None:
    at_256 = minilm.encode([LONG])
    assert difference(flag.encode([LONG], max_length=256), at_256) < BOUND
    assert difference(by_transformers([LONG], truncation=True, max_length=256), at_256) < BOUND
    longer = SentenceTransformer(FOLDER, device="cpu", processor_kwargs={"model_max_length": 512})
    longer.max_seq_length = 512
    at_512 = flag.encode([LONG])
    assert difference(at_512, longer.encode([LONG])) < BOUND
    assert difference(at_512, by_transformers([LONG], truncation=True)) < BOUND
    assert util.cos_sim(at_512, at_256).item() < 0.95


def test_more_tokens_than_positions_is_an_error_and_not_a_wrong_vector(flag: FlagModel) -> None:
    with pytest.raises(RuntimeError):
        by_transformers([LONG])
    with pytest.raises(Exception):  # noqa: B017  FlagEmbedding 1.4 takes the error for a lack of memory
        flag.encode([LONG], max_length=1024)


# Length of the vectors


def test_flag_model_normalises_unless_told_not_to_and_sentence_transformers_as_the_folder_says(
    minilm: SentenceTransformer, flag: FlagModel
) -> None:
    without = SentenceTransformer(modules=[*minilm][:2], device="cpu")
    raw = flag_model(normalize_embeddings=False)
    assert np.allclose(np.linalg.norm(flag.encode(QUERIES), axis=1), 1, atol=1e-5)
    assert difference(raw.encode(QUERIES), without.encode(QUERIES)) < BOUND
    assert np.linalg.norm(raw.encode(QUERIES), axis=1).max() > 2
