"""What strangers and careless clients send, by kind, and what each must hear: the server's fuzz.

A kind is a line of `KINDS`: what it is, and the strategy that makes attempts of it. An attempt says itself which
answers are right. `run` tries attempts of each kind against a server until its number or its time is up.
"""

import json
import socket
import struct
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from tests.server.live import KEY, MODEL, TEXTS, connected, request_of

BODY_SECONDS, MAX_CHARS, NATIVE, NOT_FINITE = 1, 10_240, 384, "zebra"
SECRET = "pelican"  # in texts that are refused: an answer never repeats it
SETTINGS = {"api_keys": KEY, "max_body_s": BODY_SECONDS, "max_queue_tokens": 20_000, "truncate": False}


@dataclass(frozen=True)
class Attempt:
    """Bytes to send, how the client behaves, and the answers that are right.

    Attributes:
        sent: the bytes of a connection.
        leaves: "fin" or "rst" if the client goes away after them, "slow" if it then sends a byte now and then.
        right: statuses; empty if no answer is awaited.
        words: what the answer must say.
        text: whose vector the answer must hold.
        beside: bodies that other clients send at the same time.
    """

    sent: bytes
    right: tuple[int, ...] = ()
    leaves: str = ""
    words: str = ""
    text: str = ""
    beside: tuple[bytes, ...] = ()


def asking(right: tuple[int, ...], words: str = "", text: str = "", **body: Any) -> Attempt:
    """A request with this body beside the model's name."""
    return Attempt(request_of(json.dumps({"model": MODEL} | body).encode()), right, words=words, text=text)


def raw(body: bytes, *right: int, words: str = "", **headers: str) -> Attempt:
    return Attempt(request_of(body, **headers), right, words=words)


WHOLE = json.dumps({"model": MODEL, "input": ["a text of some words"] * 50}).encode()
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
FIELDS = ["encoding_format", "dimensions", "input_type", "truncate", "user"]
REFUSED = (400, 404, 413)

broken = st.one_of(
    st.binary(max_size=200),
    st.integers(0, len(WHOLE) - 1).map(lambda end: WHOLE[:end]),
    st.sampled_from(["utf-16", "utf-8-sig", "utf-32"]).map(lambda code: WHOLE.decode().encode(code)),
    st.integers(100, 100_000).map(lambda depth: b'{"input":' + b"[" * depth),
    st.sampled_from([b'"\\ud800"', b"NaN", b"-Infinity", b"1" * 5000]).map(lambda v: WHOLE[:-1] + b',"user":%b}' % v),
).map(lambda body: raw(body, 400))
wrong_fields = st.tuples(st.sampled_from([*FIELDS, "input", "model", "other"]), json_values).map(
    lambda drawn: asking((200, *REFUSED), **{"input": SECRET, drawn[0]: drawn[1]})
)
as_clients_do = st.tuples(
    st.sampled_from(TEXTS[:8]),
    st.lists(st.sampled_from(FIELDS), unique=True),
    st.sampled_from([{}, {"dimensions": NATIVE}, {"encoding_format": "float"}, {"truncate": True}]),
).map(lambda drawn: asking((200,), text=drawn[0], **({"input": drawn[0]} | dict.fromkeys(drawn[1]) | drawn[2])))
empty_places = (
    st.integers(1, 400)
    .flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n - 1)))
    .map(
        lambda at: asking(
            (400,), f"Input {at[1]} is empty", input=[SECRET] * at[1] + [""] + [SECRET] * (at[0] - 1 - at[1])
        )
    )
)
foreign_places = st.tuples(st.integers(1, 50), st.sampled_from([None, 3, 1.5, True, [], {}, [[]]])).map(
    lambda drawn: asking((400,), f"Input {drawn[0]} is of another kind", input=[SECRET] * drawn[0] + [drawn[1]])
)
long_texts = st.tuples(
    st.integers(MAX_CHARS + 1, 40_000) | st.just(MAX_CHARS + 1),
    st.sampled_from("aé漢 "),
    st.booleans(),
    st.integers(0, 5),
).map(
    lambda drawn: asking(
        (413,),
        f"Input {drawn[3]} has {drawn[0]} characters, and {MAX_CHARS} is the limit",
        input=["a"] * drawn[3] + [drawn[1] * drawn[0]],
        truncate=drawn[2],
    )
)
just_short_enough = st.sampled_from("aé漢").map(lambda sign: asking((200,), input=sign * MAX_CHARS, truncate=True))
too_many = st.integers(2049, 5000).map(lambda n: asking((400,), "LangChain set chunk_size", input=["a"] * n))
too_much = st.integers(120, 180).map(lambda n: asking((413, 429), "", input=["word " * 240] * n, truncate=True))
sizes = st.integers(-2, 2000).map(
    lambda d: asking((200,) if d == NATIVE else (400,), "" if d == NATIVE else "dimensions", input=SECRET, dimensions=d)
)
leaving = st.tuples(
    st.integers(1, len(request_of(WHOLE))), st.sampled_from(["fin", "rst"]), st.sampled_from([True, False])
).map(
    lambda drawn: (
        Attempt(request_of(WHOLE)[: drawn[0]], leaves=drawn[1])
        if drawn[2]
        else Attempt(
            request_of(b"5\r\n{{{{{\r\n", Content_Length="", Transfer_Encoding="chunked") + b"ZZ\r\n" * (drawn[0] % 2),
            leaves=drawn[1],
        )
    )
)
slow = st.integers(0, 100).map(
    lambda n: Attempt(request_of(WHOLE[:n], Content_Length=str(len(WHOLE))), (408,), "slow", words="didn't arrive")
)
framing = st.sampled_from(
    [
        raw(b"0\r\n\r\n", 400, Transfer_Encoding="chunked"),
        raw(b"{}", 400, Content_Length="-1"),
        raw(b"{}", 400, Content_Length="2, 3"),
        raw(b"{}", 400, Content_Length="many"),
        raw(b"{}", 413, Content_Length="99999999"),
        Attempt(b"HEAD /health HTTP/1.1\r\nHost: a\r\n\r\n", (200,)),
        Attempt(b"PUT /v1/embeddings HTTP/1.1\r\nHost: a\r\n\r\n", (405,)),
        Attempt(b"GET /pelican HTTP/1.1\r\nHost: a\r\n\r\n", (404,)),
        Attempt(b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", (400,)),
    ]
)
keys = (
    st.binary(max_size=30)
    .map(lambda key: key.replace(b"\r", b"").replace(b"\n", b"").replace(b"\0", b"").strip())
    .map(
        lambda key: Attempt(
            request_of(WHOLE, Authorization="X").replace(b"Authorization: X", b"Authorization: Bearer " + key),
            (401, 400),
        )
    )
)
not_finite = st.integers(0, 20).map(
    lambda place: asking((500,), f"Input {place}: the model's vector", input=["a"] * place + [NOT_FINITE, "b"])
)
beside_large = st.integers(1, 4).map(
    lambda n: Attempt(
        request_of(json.dumps({"model": MODEL, "input": "short"}).encode()),
        (200,),
        beside=(json.dumps({"model": MODEL, "input": ["a " * 4000] * 70, "truncate": True}).encode(),) * n,
    )
)

KINDS: dict[str, st.SearchStrategy[Attempt]] = {
    "a body that is no JSON in UTF-8": broken,
    "a field of a wrong kind": wrong_fields,
    "what clients send unasked: nulls, the native size, either format": as_clients_do,
    "an empty text among others": empty_places,
    "something else among texts": foreign_places,
    "a text above the limit in characters": long_texts,
    "a text at the limit in characters": just_short_enough,
    "too many inputs": too_many,
    "more tokens than a request may have": too_much,
    "dimensions": sizes,
    "a client that goes away: in its headers, in its body, after it": leaving,
    "a slow body": slow,
    "framing, methods and paths": framing,
    "keys": keys,
    "a vector that isn't finite": not_finite,
    "a short request beside large ones": beside_large,
}


def answer(url: str, attempt: Attempt) -> bytes:
    """Send an attempt; all bytes of the answer, headers included."""
    with connected(url, 60) as client:
        client.sendall(attempt.sent)
        if attempt.leaves == "rst":
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if attempt.leaves in ("fin", "rst"):
            return b""
        if attempt.leaves == "slow":
            for _ in range(3 * BODY_SECONDS * 2):
                client.settimeout(0.5)
                try:
                    return client.recv(100_000)
                except TimeoutError:
                    client.sendall(b" ")
            raise AssertionError(f"a slow body was borne for {3 * BODY_SECONDS} s")
        received = b""
        while not complete(received, attempt.sent.startswith(b"HEAD")):
            more = client.recv(1_000_000)
            if not more:
                break
            received += more
        return received


def complete(received: bytes, no_body: bool) -> bool:
    """Whether an answer has arrived whole."""
    head, found, body = received.partition(b"\r\n\r\n")
    lines = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
    return bool(found) and (no_body or len(body) >= int(lines.get(b"content-length", b"1000000000")))


def try_one(url: str, attempt: Attempt, references: dict[str, Any]) -> None:
    """Send an attempt and hold the answer, and what the server counts, against what is right."""
    with (
        ThreadPoolExecutor(8) as pool,
        httpx.Client(base_url=url, headers={"Authorization": f"Bearer {KEY}"}, timeout=60) as one,
    ):
        failed = failures(one)
        others = [pool.submit(answer, url, Attempt(request_of(body))) for body in attempt.beside]
        received = answer(url, attempt)
        head, _, body = received.partition(b"\r\n\r\n")
        if attempt.right:
            status = int(head.split(b" ", 2)[1])
            assert status in attempt.right, f"{status} isn't among {attempt.right}: {body[:300]!r}"
            assert SECRET.encode() not in body or b"/pelican" in body, "a text is repeated"
            if body and status != 200 and b"json" in head:
                error = json.loads(body)["error"]
                assert set(error) == {"message", "type", "param", "code"}, error
                assert attempt.words in error["message"], error["message"]
            if attempt.text:
                vector = json.loads(body)["data"][0]["embedding"]
                np.testing.assert_allclose(vector, references[attempt.text], atol=1e-5, rtol=0)
        for other in others:
            assert other.result().split(b" ", 2)[1] in (b"200", b"429")
        assert one.get("/health").status_code == 200
        expected = 1 if attempt.right == (500,) else 0
        if attempt.leaves:
            time.sleep(0.02)  # in which the server learns of it
        assert failures(one) == failed + expected, "a server error was counted"


def failures(one: httpx.Client) -> float:
    """Answers with 500 that the server has counted."""
    lines = one.get("/metrics").text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if "requests_total" in line and 'status="500"' in line)


def try_kind(url: str, references: dict[str, Any], kind: str, number: int, examples: int) -> int:
    """Try so many attempts of one kind, drawn by the number; how many were tried."""
    tried = 0

    @seed(number)
    @settings(
        max_examples=3 if kind == "a slow body" else examples,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(KINDS[kind])
    def each(attempt: Attempt) -> None:
        nonlocal tried
        tried += 1
        try:
            try_one(url, attempt, references)
        except (AssertionError, OSError) as error:
            raise AssertionError(f"{kind}: {error}; sent {attempt.sent[:300]!r}") from error

    each()
    return tried


def run(url: str, references: dict[str, Any], *, examples: int, seconds: float = 0) -> Counter[str]:
    """Try so many attempts of each kind, and again until the time is up; how many were tried of each."""
    tried: Counter[str] = Counter()
    end, turn = time.monotonic() + seconds, 0
    while not turn or time.monotonic() < end:
        for kind in KINDS:
            if turn and time.monotonic() >= end:
                break
            tried[kind] += try_kind(url, references, kind, turn, examples)
        turn += 1
    return tried
