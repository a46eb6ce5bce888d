"""The server, started as its users start it: a bad request gets a clear 4xx, and what it does is counted and logged."""

import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import openai
import pytest
import schemathesis
import torch
from hypothesis import HealthCheck, given, settings, strategies
from pydantic import SecretStr
from schemathesis import GenerationMode
from schemathesis import checks as schema_checks
from sentence_transformers import SentenceTransformer
from torch.nn.functional import layer_norm, normalize

from helpers.server import Settings
from helpers.server.wire import EmbeddingRequest, answer
from tests.server.live import (
    MODEL,
    connected,
    embedded,
    metric,
    post,
    request_of,
    requests,
    serving,
    started,
    told,
    wait_until_ready,
)

CHECKED = [
    schema_checks.not_a_server_error,
    schema_checks.status_code_conformance,
    schema_checks.content_type_conformance,
    schema_checks.response_schema_conformance,
]


# Requests that are wrong

WRONG: dict[str, tuple[bytes, int, str]] = {
    "no JSON": (b"{", 400, "no JSON"),
    "invalid UTF-8": (b'{"model": "%s", "input": "\xff\xfe"}' % MODEL.encode(), 400, "UTF-8"),
    "a lone surrogate": (b'{"model": "%s", "input": "\\ud800"}' % MODEL.encode(), 400, "UTF-8"),
    "NaN": (b'{"model": "%s", "input": NaN}' % MODEL.encode(), 400, "input must be"),
    "NaN among texts": (b'{"model": "%s", "input": ["a", NaN]}' % MODEL.encode(), 400, "input must be"),
    "an array": (b"[]", 400, "body"),
    "no body": (b"", 400, "no JSON"),
    "no input": (json.dumps({"model": MODEL}).encode(), 400, "input"),
    "no model": (json.dumps({"input": "a"}).encode(), 400, "model"),
} | {
    f"{name}": (json.dumps({"model": MODEL, "input": "a"} | body).encode(), status, words)
    for name, body, status, words in [
        ("an empty text", {"input": ""}, 400, "none of them empty"),
        ("an empty list", {"input": []}, 400, "none of them empty"),
        ("an empty list in a list", {"input": [[]]}, 400, "none of them empty"),
        ("an empty text among others", {"input": ["a"] * 300 + ["", "a"]}, 400, "Input 300 is empty; leave it out"),
        ("an empty text first", {"input": ["", "a"]}, 400, "Input 0 is empty"),
        ("an empty list of ids among others", {"input": [[101, 7592, 102], []]}, 400, "Input 1 is empty"),
        ("a null among texts", {"input": ["a", "b", None]}, 400, "Input 2 is of another kind"),
        ("a float among ids", {"input": [101, 2.5]}, 400, "Input 1 is of another kind"),
        ("texts and ids mixed", {"input": ["a", 3]}, 400, "Input 1 is of another kind"),
        ("true as an id", {"input": [True]}, 400, "input must be"),
        ("null", {"input": None}, 400, "input must be"),
        ("a negative id", {"input": [101, -4, 102]}, 400, "input must be"),
        ("an id beyond the vocabulary", {"input": [101, 99_999, 102]}, 400, "no token ids of all-MiniLM"),
        ("an id beyond all numbers", {"input": [101, 10**30, 102]}, 400, "input must be"),
        ("10,000 inputs", {"input": ["a"] * 10_000}, 400, "10000 inputs, and 2048 a request is the limit; send fewer"),
        ("a text that is too long", {"input": ["a", "word " * 400]}, 400, "Input 1 has 402 tokens and the model reads"),
        ("a text of 1 MB", {"input": ["a", "word " * 200_000]}, 413, "Input 1 has 1000000 characters, and 10240 is"),
        ("the same, to be cut", {"input": "a" * 10_241, "truncate": True}, 413, "split it, or send its beginning"),
        ("a body of 3 MB", {"input": "word " * 600_000}, 413, "bytes; send fewer texts a request (in LangChain set"),
        ("more tokens than the queue holds", {"input": ["word " * 200] * 200}, 413, "20000 a request is the limit"),
        ("another model", {"model": "text-embedding-3-small"}, 404, "there is 'all-MiniLM-L6-v2'"),
        ("dimensions of a model that isn't Matryoshka", {"dimensions": 128}, 400, "leave dimensions out, or send 384"),
        ("more dimensions than there are", {"dimensions": 385}, 400, "leave dimensions out, or send 384"),
        ("no dimensions", {"dimensions": 0}, 400, "dimensions"),
        ("an unknown format", {"encoding_format": "int8"}, 400, "encoding_format"),
        ("an unknown input type", {"input_type": "passage"}, 400, "input_type"),
        ("a misspelt field", {"input_typ": "query"}, 400, "no field 'input_typ'"),
    ]
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_request_is_told_what_is_wrong(server: httpx.Client, name: str) -> None:
    body, status, words = WRONG[name]
    assert words in told(server.post("/v1/embeddings", content=body), status)


def test_a_body_without_a_declared_length_meets_the_same_limit(server: httpx.Client) -> None:
    chunks = (b" " * 100_000 for _ in range(30))
    assert "larger than" in told(server.post("/v1/embeddings", content=chunks), 413)


@pytest.mark.parametrize("header", ["Bearer wrong", "Bearer", "Basic a-key", "Bearer a-key2", "Bearer ключ", None])
def test_without_a_valid_key_nothing_but_health_answers(server: httpx.Client, header: str | None) -> None:
    headers = {} if header is None else {b"Authorization": header.encode()}
    with httpx.Client(base_url=server.base_url, headers=headers) as stranger:
        for response in (stranger.get("/v1/models"), stranger.get("/metrics"), post(stranger, input="a")):
            assert "key is missing or wrong" in told(response, 401)
            assert response.headers["WWW-Authenticate"] == "Bearer"
        assert stranger.get("/health").status_code == 200


def test_what_clients_send_unasked_changes_nothing(server: httpx.Client) -> None:
    plain = embedded(post(server, input="a"))
    nulls = dict.fromkeys(["encoding_format", "dimensions", "input_type", "truncate", "user"])
    each: list[dict[str, Any]] = [*({name: None} for name in nulls), nulls, {"dimensions": 384}, {"user": "u"}]
    for sent in each:
        np.testing.assert_array_equal(embedded(post(server, input="a", **sent)), plain, err_msg=str(sent))


def test_the_native_dimensions_of_any_model_are_its_vectors_as_they_are() -> None:
    name = "nomic-ai/nomic-embed-text-v1.5"  # whose cut vectors aren't the beginning of the whole ones
    with started(model=name, source="stand-in") as app_client:
        body = {"model": name, "input": "search_query: keys"}
        np.testing.assert_array_equal(
            embedded(post(app_client, **body, dimensions=768)), embedded(post(app_client, **body))
        )


def test_head_answers_as_get_does_without_a_body(server: httpx.Client) -> None:
    for path in ("/health", "/v1/models", "/metrics"):
        response = server.head(path)
        assert (response.status_code, response.content) == (200, b""), path
        assert httpx.head(f"{server.base_url}{path}").status_code == (200 if path == "/health" else 401)


def test_the_limit_in_characters_is_40_for_each_token_that_the_model_reads_and_is_told(server: httpx.Client) -> None:
    (listed,) = server.get("/v1/models").json()["data"]
    assert listed["max_characters"] == 40 * listed["max_tokens"] == 10_240
    assert len(embedded(post(server, input="a" * 10_240))) == 1
    with started(max_text_chars=5) as app_client:
        assert len(embedded(post(app_client, input="short"))) == 1
        assert "6 characters, and 5 is the limit" in told(post(app_client, input="longer"), 413)


def test_a_vector_that_is_not_finite_is_a_500_that_names_the_input_and_is_counted() -> None:
    with started() as app_client:
        batcher = app_client.app.state.service.batcher
        works = batcher.encode
        for wrong in (np.nan, np.inf, -np.inf):
            batcher.encode = lambda rows, wrong=wrong: (
                works(rows) + np.array([[wrong if len(r) > 5 else 0] for r in rows])
            )
            for form in ("float", "base64", None):
                response = post(app_client, input=["a", "a text of several words", "b"], encoding_format=form)
                assert "Input 1: the model's vector of it isn't finite" in told(response, 500)
                assert response.json()["error"]["code"] == "not_finite"
        assert metric(app_client, "embed_not_finite_texts_total") == 9
        assert len(embedded(post(app_client, input="a"))) == 1


def test_a_request_with_two_lengths_is_refused(server: httpx.Client) -> None:
    with connected(str(server.base_url)) as one:
        one.sendall(request_of(b"2\r\n{}\r\n0\r\n\r\n", Transfer_Encoding="chunked"))
        said = b""
        while more := one.recv(10_000):  # the connection is closed after it
            said += more
    assert said.startswith(b"HTTP/1.1 400") and b"connection: close" in said.lower()


def test_the_openai_client_knows_these_errors(server: httpx.Client, client: openai.OpenAI) -> None:
    with pytest.raises(openai.AuthenticationError):
        client.with_options(api_key="wrong").embeddings.create(input="a", model=MODEL)
    with pytest.raises(openai.NotFoundError):
        client.embeddings.create(input="a", model="gpt")
    with pytest.raises(openai.BadRequestError, match="shorten it") as caught:
        client.embeddings.create(input="word " * 400, model=MODEL)
    assert (caught.value.param, caught.value.code) == ("input", "context_length_exceeded")


def test_unknown_paths_and_methods_answer_in_the_same_shape(server: httpx.Client) -> None:
    assert "/nothing" in told(server.get("/nothing"), 404)
    assert "Not Allowed" in told(server.get("/v1/embeddings"), 405)


def test_every_answer_is_counted_and_timed_by_route_and_status(server: httpx.Client) -> None:
    asked: dict[tuple[str, int], Callable[[], httpx.Response]] = {
        ("/v1/embeddings", 200): lambda: post(server, input="a"),
        ("/v1/embeddings", 400): lambda: post(server, input=""),
        ("/v1/embeddings", 401): lambda: server.post("/v1/embeddings", headers={"Authorization": "Bearer wrong"}),
        ("/v1/embeddings", 405): lambda: server.get("/v1/embeddings"),
        ("/v1/models", 401): lambda: server.get("/v1/models", headers={"Authorization": "Bearer wrong"}),
        ("none", 404): lambda: server.get("/a-path-of-a-stranger"),
    }
    before = {which: requests(server, *which) for which in asked}
    for which, ask in asked.items():
        assert ask().status_code == which[1]
        count = before[which][0] + 1
        assert requests(server, *which) == (count, count), which
    assert "stranger" not in server.get("/metrics").text


@pytest.mark.parametrize(
    ("path", "mode"),
    [
        *(("/v1/embeddings", mode) for mode in GenerationMode),
        *((path, GenerationMode.POSITIVE) for path in ("/v1/models", "/health", "/metrics")),  # nothing to get wrong
    ],
)
def test_schemathesis_finds_no_request_that_breaks_the_server(
    server: httpx.Client, path: str, mode: GenerationMode
) -> None:
    schema = schemathesis.openapi.from_url(f"{server.base_url}/openapi.json")
    tried: Counter[tuple[str, int]] = Counter()

    examples = 60 if path == "/v1/embeddings" else 10

    @settings(
        max_examples=examples, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(strategies.data())
    def each(drawn: Any) -> None:
        case = drawn.draw(operation.as_strategy(generation_mode=mode))
        response = case.call(headers=dict(server.headers))
        assert response.status_code < 500, response.text
        case.validate_response(response, checks=CHECKED)
        tried[case.path, response.status_code] += 1

    operation = schema[path]["POST" if path == "/v1/embeddings" else "GET"]
    each()
    assert sum(tried.values()) >= (40 if path == "/v1/embeddings" else 1), tried


def test_schemathesis_was_sent_to_every_route(server: httpx.Client) -> None:
    assert set(server.get("/openapi.json").json()["paths"]) == {"/v1/embeddings", "/v1/models", "/health", "/metrics"}


# Long texts


def test_a_text_cut_on_request_is_the_librarys_and_is_counted_and_told(
    server: httpx.Client, minilm: SentenceTransformer
) -> None:
    before = metric(server, "embed_truncated_texts_total")
    response = post(server, input=["short", "word " * 400], truncate=True)
    np.testing.assert_allclose(embedded(response), minilm.encode(["short", "word " * 400]), atol=1e-5, rtol=0)
    assert response.json()["truncated"] == [1] and response.headers["X-Truncated-Inputs"] == "1"
    assert response.json()["usage"]["total_tokens"] == 3 + 256
    assert metric(server, "embed_truncated_texts_total") == before + 1


def test_logs_are_json_and_hold_no_text(server: httpx.Client, log: Path) -> None:
    post(server, input="a secret sentence about a pelican")
    post(server, input="another pelican", dimensions=3)
    time.sleep(0.2)
    written = log.read_text()
    assert "pelican" not in written
    requests = [json.loads(line) for line in written.splitlines() if '"message": "request"' in line]
    assert {"id", "texts", "tokens", "truncated", "status", "ms"} <= set(requests[-1])
    assert [line["status"] for line in requests[-2:]] == [200, 400]


def test_when_the_worker_dies_those_who_wait_are_told_and_the_process_ends_with_code_1(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text(
        """
from helpers.server import create_app
from helpers.encode.tokens import TokenizedModel

works = TokenizedModel.encode


def encode(self, rows):
    if len(rows) == 2:
        raise SystemExit
    return works(self, rows)


TokenizedModel.encode = encode
app = create_app()
"""
    )
    with serving(tmp_path / "log", "broken:app") as (url, process):
        wait_until_ready(url, process)
        with httpx.Client(base_url=url, timeout=60) as one:
            assert len(embedded(post(one, input="a"))) == 1
            assert "its log has" in told(post(one, input=["a", "b"]), 500)
        assert process.wait(30) == 1
    assert "The worker has died" in (tmp_path / "log").read_text()


# Models and settings, without a socket


def test_one_failing_batch_fails_its_requests_and_not_the_server() -> None:
    with started() as app_client:
        batcher = app_client.app.state.service.batcher
        works, batcher.encode = batcher.encode, lambda rows: 1 / 0
        assert "its log has" in told(post(app_client, input="a"), 500)
        batcher.encode = works
        assert app_client.get("/health").status_code == 200
        assert len(embedded(post(app_client, input="a"))) == 1


def test_a_large_answer_is_written_beside_the_event_loop_even_if_its_request_was_small(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    threads = []

    def noted(*args: Any, **given: Any) -> bytes:
        threads.append(threading.current_thread())
        return answer(*args, **given)

    monkeypatch.setattr("helpers.server.service.answer", noted)
    with started() as app_client:
        for count in (1, 100, 1):
            assert len(embedded(post(app_client, input=["a"] * count))) == count
    loop, beside, again = threads
    assert loop is again and beside is not loop


def test_input_type_puts_the_models_prompt_before_a_text() -> None:
    with started(model="intfloat/e5-small-v2", source="stand-in") as app_client:
        plain, query, by_hand = (
            embedded(post(app_client, model="e5-small-v2", **body))[0]
            for body in ({"input": "keys"}, {"input": "keys", "input_type": "query"}, {"input": "query: keys"})
        )
        np.testing.assert_allclose(query, by_hand, atol=1e-6)
        assert np.abs(query - plain).max() > 0.01
        (listed,) = app_client.get("/v1/models").json()["data"]
        assert listed["weights"].startswith("stand-in") and listed["prompts"]["document"] == "passage: "


def test_a_way_to_run_the_model_is_set_and_told() -> None:
    body = {"model": MODEL, "input": ["keys", "and a longer text"]}
    with started() as plain, started(precision="openvino") as other:
        np.testing.assert_allclose(embedded(post(other, **body)), embedded(post(plain, **body)), atol=1e-5)
        assert [c.get("/v1/models").json()["data"][0]["precision"] for c in (plain, other)] == ["as loaded", "openvino"]


def test_dimensions_of_a_matryoshka_model_are_cut_and_normalised() -> None:
    with started(model="google/embeddinggemma-300m", source="stand-in") as app_client:
        body = {"model": "google/embeddinggemma-300m", "input": ["keys", "and a longer text"]}
        full, short = embedded(post(app_client, **body)), embedded(post(app_client, **body, dimensions=128))
        assert short.shape == (2, 128)
        np.testing.assert_allclose(
            short, full[:, :128] / np.linalg.norm(full[:, :128], axis=1, keepdims=True), atol=1e-6
        )
        told(post(app_client, **body, dimensions=769), 400)


def test_nomics_dimensions_are_cut_after_a_layer_norm_as_they_were_trained() -> None:
    name = "nomic-ai/nomic-embed-text-v1.5"
    with started(model=name, source="stand-in") as app_client:
        body = {"model": name, "input": ["search_query: keys", "search_document: a longer text"]}
        full, short = embedded(post(app_client, **body)), embedded(post(app_client, **body, dimensions=256))
    by_hand = normalize(layer_norm(torch.tensor(full), [full.shape[1]])[:, :256], dim=1)
    np.testing.assert_allclose(short, by_hand, atol=1e-6)
    assert np.abs(short - full[:, :256] / np.linalg.norm(full[:, :256], axis=1, keepdims=True)).max() > 1e-5


def test_a_stand_in_is_not_served_unless_asked_for(tmp_path: Path) -> None:
    with serving(tmp_path / "log", model="BAAI/bge-small-en-v1.5", source="auto") as (_, process):
        assert process.wait(90) != 0
    assert "EMBED_SOURCE=stand-in" in (tmp_path / "log").read_text()


def test_settings_are_read_from_the_environment_and_each_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMBED_API_KEYS", "one, two")
    monkeypatch.setenv("EMBED_TOKEN_BUDGET", "64")
    found = Settings()
    assert found.keys == [b"one", b"two"] and found.token_budget == 64
    assert "one, two" not in repr(found)
    assert all(field.description for field in Settings.model_fields.values())
    assert all(field.description for field in EmbeddingRequest.model_fields.values())


@pytest.mark.parametrize(
    ("keys", "words"), [("one, ключ", "key 2 of 2"), ("a b", "key 1 of 1"), (" ,", "holds no key")]
)
def test_keys_that_no_client_can_send_are_refused_at_the_start_and_not_repeated(keys: str, words: str) -> None:
    with pytest.raises(ValueError, match=words) as refused:
        Settings(api_keys=SecretStr(keys))
    assert not {part.strip() for part in keys.split(",") if part.strip()} & set(str(refused.value).split())
