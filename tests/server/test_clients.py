"""The field's clients against a running server."""

import base64
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import openai
import pytest
from langchain_openai import OpenAIEmbeddings
from pydantic import SecretStr
from sentence_transformers import SentenceTransformer

from tests.server.live import KEY, MODEL, TEXTS, embedded, post


@pytest.mark.parametrize("encoding_format", ["float", "base64", None])
def test_the_openai_client_gets_the_librarys_vectors(
    client: openai.OpenAI, minilm: SentenceTransformer, encoding_format: Any
) -> None:
    given: Any = openai.omit if encoding_format is None else encoding_format
    found = client.embeddings.create(input=TEXTS, model=MODEL, encoding_format=given, extra_body={"truncate": True})
    vectors: Any = [item.embedding for item in found.data]
    if encoding_format == "base64":
        vectors = [np.frombuffer(base64.b64decode(vector), "<f4") for vector in vectors]
    np.testing.assert_allclose(vectors, minilm.encode(TEXTS), atol=1e-5, rtol=0)
    assert [item.index for item in found.data] == list(range(len(TEXTS)))


def test_a_text_token_ids_and_lists_of_either_give_the_same_vector_and_usage(
    client: openai.OpenAI, minilm: SentenceTransformer
) -> None:
    ids = minilm.tokenizer("where are the keys?")["input_ids"]
    for form in ("where are the keys?", ["where are the keys?"], ids, [ids]):
        found = client.embeddings.create(input=form, model=MODEL)
        np.testing.assert_allclose(found.data[0].embedding, minilm.encode("where are the keys?"), atol=1e-5, rtol=0)
        assert found.usage.prompt_tokens == found.usage.total_tokens == len(ids)


def chain_of(client: openai.OpenAI, **given: Any) -> OpenAIEmbeddings:
    """LangChain's client, told to send texts."""
    address, key = str(client.base_url), SecretStr(KEY)
    return OpenAIEmbeddings(model=MODEL, base_url=address, api_key=key, check_embedding_ctx_length=False, **given)


def test_langchain_gets_the_librarys_vectors_from_texts(client: openai.OpenAI, minilm: SentenceTransformer) -> None:
    for given in ({}, {"dimensions": 384}):  # the native size, which some always send
        chain = chain_of(client, **given)
        found = chain.embed_documents(["one", "two"])
        np.testing.assert_allclose(found, minilm.encode(["one", "two"]), atol=1e-5, rtol=0)
        np.testing.assert_allclose(chain.embed_query("three"), minilm.encode("three"), atol=1e-5, rtol=0)


def test_langchains_default_of_a_thousand_long_texts_is_told_its_own_remedy_which_helps(
    client: openai.OpenAI, minilm: SentenceTransformer
) -> None:
    texts = [f"{i}: " + "words " * 100 for i in range(250)]
    with pytest.raises(openai.APIStatusError, match="in LangChain set chunk_size") as refused:
        chain_of(client).embed_documents(texts)
    assert refused.value.status_code == 413
    found = chain_of(client, chunk_size=50).embed_documents(texts)
    np.testing.assert_allclose(found[::50], minilm.encode(texts[::50]), atol=1e-5, rtol=0)


def test_langchains_default_sends_ids_of_another_tokenizer_and_is_told_what_to_set(
    client: openai.OpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tiktoken

    pattern, ranks = r"\w+|\W", {bytes([i]): i for i in range(256)}
    bytewise = tiktoken.Encoding("bytes", pat_str=pattern, mergeable_ranks=ranks, special_tokens={})
    monkeypatch.setattr(tiktoken, "get_encoding", lambda name: bytewise)  # the real one is a download
    chain = OpenAIEmbeddings(model=MODEL, base_url=str(client.base_url), api_key=SecretStr(KEY))
    with pytest.raises(openai.BadRequestError, match="check_embedding_ctx_length=False"):
        chain.embed_documents(["these ids are all in MiniLM's vocabulary, and mean something else"])


def test_the_models_list_says_what_the_weights_are(client: openai.OpenAI) -> None:
    (found,) = client.models.list()
    assert found.id == MODEL
    assert found.model_extra is not None and found.model_extra["weights"].startswith("bundled")
    assert found.model_extra["dimensions"] == 384


def test_the_catalogues_full_name_is_the_same_model(server: httpx.Client) -> None:
    assert len(embedded(post(server, input="a", model=f"sentence-transformers/{MODEL}"))) == 1


LLAMA_INDEX = """
import json, sys
from llama_index.embeddings.openai_like import OpenAILikeEmbedding

url, key, model = sys.argv[1:]
def client(**given):
    return OpenAILikeEmbedding(model_name=model, api_base=url, api_key=key, max_retries=0, **given)
texts = [f"{i}: " + "words " * 100 for i in range(250)]
try:
    client(embed_batch_size=250).get_text_embedding_batch(texts)
    refused = ""
except Exception as error:
    refused = str(error)
found = client(embed_batch_size=50).get_text_embedding_batch(texts)
print(json.dumps({"refused": refused, "texts": texts[::50], "found": found[::50],
                  "query": client().get_query_embedding("three"),
                  "native": client(dimensions=384).get_text_embedding("three")}))
"""


@pytest.mark.execution
def test_llama_index_gets_the_librarys_vectors_and_is_told_its_own_remedy(
    client: openai.OpenAI, minilm: SentenceTransformer, tmp_path: Path
) -> None:
    # In an environment of its own, held to the lock: it brings 27 packages that nothing else here needs.
    lock = Path(__file__).parents[2] / "requirements.lock"
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "own"], check=True)
    python = str(tmp_path / "own" / "bin" / "python")
    packages = ["llama-index-embeddings-openai-like>=0.4"]
    subprocess.run([python, "-m", "pip", "install", "--quiet", "-c", lock, *packages], check=True)
    command = [str(python), "-c", LLAMA_INDEX, str(client.base_url), str(KEY), str(MODEL)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr[-2000:]
    said = json.loads(ran.stdout)
    assert "in LlamaIndex embed_batch_size" in said["refused"]
    np.testing.assert_allclose(said["found"], minilm.encode(said["texts"]), atol=1e-5, rtol=0)
    for name in ("query", "native"):
        np.testing.assert_allclose(said[name], minilm.encode("three"), atol=1e-5, rtol=0)
