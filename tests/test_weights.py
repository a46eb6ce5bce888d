"""`make weights` against a hub on 127.0.0.1 that breaks off, refuses and damages, and against the lessons."""

import ast
import contextlib
import hashlib
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import numpy as np
import pytest

from helpers import bundled, catalog, doctor, models
from helpers.errors import CourseError
from tools import weights
from tools.build import ROOT, manifest

BGE = catalog.card("BAAI/bge-small-en-v1.5")
LARGE = np.random.default_rng(0).bytes(600_000)
FILES = {
    "config.json": b'{"a": 1}',
    "1_Pooling/config.json": b'{"b": 2}',
    "model.safetensors": LARGE,
    "pytorch_model.bin": b"the same weights once more",
    "onnx/model.onnx": b"and again",
}
READ = {"config.json", "1_Pooling/config.json", "model.safetensors"}


@dataclass
class Hub:
    """A hub with one model's files; it notes what is fetched, and can be told to misbehave."""

    address: str = ""
    fetched: list[tuple[str, str | None]] = field(default_factory=list)  # (file, Range header)
    breaks: int = 0  # how many times the large file stops half-way
    hangs: bool = False  # whether it then waits for ever
    refuses: str = ""  # part of the addresses that want a login


def answer(hub: Hub, request: BaseHTTPRequestHandler) -> None:
    path = request.path.split("?")[0]
    if hub.refuses and hub.refuses in path:
        return send(request, 403, b"{}", {"X-Error-Code": "GatedRepo", "X-Error-Message": "accept the terms"})
    if "/tree/" in path:
        body = json.dumps([entry(name, content) for name, content in FILES.items()]).encode()
        return send(request, 200, body, {"Content-Type": "application/json"})
    name = path.split(f"/resolve/{BGE.revision}/")[-1]
    if name not in FILES:
        return send(request, 200, b"", {})
    content, wished = FILES[name], request.headers.get("Range")
    headers = {"ETag": f'"{entry(name, content)["oid"]}"', "X-Repo-Commit": str(BGE.revision)}
    if request.command == "GET":
        hub.fetched.append((name, wished))
    start = int(wished.split("=")[1].split("-")[0]) if wished else 0
    if request.command == "GET" and content is LARGE and hub.breaks and not start:
        hub.breaks -= 1
        request.send_response(200)
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        request.wfile.write(content[: len(content) // 2])
        request.wfile.flush()
        while hub.hangs:
            time.sleep(0.05)
        request.close_connection = True
        return None
    status = 206 if start else 200
    if start:
        headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
    return send(request, status, content[start:], headers)


def entry(name: str, content: bytes) -> dict[str, Any]:
    """A file as the hub lists it."""
    sha256 = hashlib.sha256(content).hexdigest()
    git = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
    found: dict[str, Any] = {"type": "file", "path": name, "size": len(content), "oid": git}
    if content is LARGE:
        found |= {"oid": sha256, "lfs": {"oid": sha256, "size": len(content), "pointerSize": 130}}
    return found


def send(request: BaseHTTPRequestHandler, status: int, body: bytes, headers: dict[str, str]) -> None:
    request.send_response(status)
    for name, value in (headers | {"Content-Length": str(len(body))}).items():
        request.send_header(name, value)
    request.end_headers()
    if request.command == "GET":
        request.wfile.write(body)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """The fake, and huggingface_hub pointed to it with an empty cache."""
    found = Hub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            with contextlib.suppress(OSError):  # the other side was killed
                answer(found, self)

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    found.address = f"http://127.0.0.1:{server.server_port}"
    constants = huggingface_hub.constants
    monkeypatch.setattr(constants, "ENDPOINT", found.address)
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", found.address + "/{repo_id}/resolve/{revision}/{filename}"
    )
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 65536)
    models.hub_reachable.cache_clear()
    yield found
    models.hub_reachable.cache_clear()
    found.hangs = False
    server.shutdown()
    server.server_close()


def snapshot(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "models--BAAI--bge-small-en-v1.5" / "snapshots" / str(BGE.revision)


def there(tmp_path: Path) -> set[str]:
    """The files of the snapshot in the cache."""
    root = snapshot(tmp_path)
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}


def test_it_fetches_what_a_lesson_reads_at_the_pinned_revision_and_checks_it(
    hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights.main(["00"])
    assert there(tmp_path) == READ == {name for name, _ in hub.fetched}
    told = capsys.readouterr().out
    assert "BAAI/bge-small-en-v1.5" in told and "127 MB  lessons 00, 02, 09" in told
    assert "here, 3 files checked (1 MB)" in told


def test_a_second_run_fetches_nothing(hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights.main(["00"])
    hub.fetched.clear()
    weights.main(["02_bge"])
    assert not hub.fetched and "\n0.00 GB to download" in capsys.readouterr().out


def test_a_connection_that_breaks_is_taken_up_where_it_broke(hub: Hub, tmp_path: Path) -> None:
    hub.breaks = 1
    weights.main(["00"])
    (_, first), (_, second) = [fetched for fetched in hub.fetched if fetched[0] == "model.safetensors"]
    assert first is None and second is not None and int(second[6:-1]) > 200_000
    assert (snapshot(tmp_path) / "model.safetensors").read_bytes() == LARGE


def test_after_a_run_that_was_killed_the_next_one_fetches_only_what_is_missing(hub: Hub, tmp_path: Path) -> None:
    hub.breaks, hub.hangs = 1, True
    environment = os.environ | {
        "HF_ENDPOINT": hub.address,
        "HF_HUB_CACHE": str(tmp_path / "cache"),
        "HF_HUB_OFFLINE": "0",
    }
    with subprocess.Popen([sys.executable, "-m", "tools.weights", "00"], cwd=ROOT, env=environment) as first:
        deadline = time.monotonic() + 120
        while not ({"config.json", "1_Pooling/config.json"} == there(tmp_path) and not hub.breaks):
            assert first.poll() is None and time.monotonic() < deadline
            time.sleep(0.05)
        first.kill()
    hub.hangs = False
    hub.fetched.clear()
    weights.main(["00"])
    assert [name for name, _ in hub.fetched] == ["model.safetensors"]
    assert there(tmp_path) == READ and (snapshot(tmp_path) / "model.safetensors").read_bytes() == LARGE


def test_a_damaged_file_is_found_and_the_next_run_mends_it(
    hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights.main(["00"])
    file = snapshot(tmp_path) / "model.safetensors"
    file.resolve().write_bytes(LARGE[:-1] + b"!")
    with pytest.raises(CourseError, match="missing still"):
        weights.main(["00"])
    assert "damaged: model.safetensors, removed; run this again" in capsys.readouterr().out
    weights.main(["00"])
    assert file.read_bytes() == LARGE


def test_what_does_not_fit_the_disk_is_not_begun(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights.shutil, "disk_usage", lambda folder: SimpleNamespace(free=1e9))
    with pytest.raises(CourseError, match="That doesn't fit: make room, name fewer lessons, or set HF_HUB_CACHE"):
        weights.main(["00"])
    assert not hub.fetched


@pytest.mark.parametrize("what", ["/tree/", "/resolve/"])
def test_a_gated_model_says_what_to_do(hub: Hub, what: str, capsys: pytest.CaptureFixture[str]) -> None:
    hub.refuses = what
    with pytest.raises(CourseError, match="missing still"):
        weights.main(["00"])
    assert "refused: accept its terms on its page of the hub" in capsys.readouterr().out


def test_without_a_hub_it_lists_what_there_is_to_fetch_and_ends_with_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(models, "hub_reachable", lambda: False)
    asked: list[str] = []
    monkeypatch.setattr(weights.packages, "get", lambda wanted: asked.extend(p.name for p in wanted) or ["no network"])
    monkeypatch.setattr(weights, "here", lambda packaged: False)
    with pytest.raises(CourseError, match=r"The hub doesn't answer, so none of these \d\.\d GB can be fetched now"):
        weights.main([])
    told = capsys.readouterr().out
    assert "BAAI/bge-m3" in told and "no network" in told
    assert asked == ["all-mpnet-base-v2", "multilingual-e5-small-q4"]


def test_what_a_package_holds_is_not_asked_of_the_hub(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights.packages, "get", lambda wanted: [])
    monkeypatch.setattr(weights, "here", lambda packaged: True)
    weights.main(["01"])
    assert not hub.fetched


def test_an_unknown_lesson_is_told() -> None:
    with pytest.raises(CourseError, match=r"no lesson 77; name some of 00, 01"):
        weights.wanted(["01", "77"])


# The list, held against the lessons


def loads(source: Path) -> set[str]:
    """The catalogue's models that a lesson loads from the hub by a name in the call itself."""
    calls = [node for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
    found = set()
    for call in calls:
        name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
        first = call.args[0].value if call.args and isinstance(call.args[0], ast.Constant) else None
        elsewhere = {"twin", "stand-in", "bundled"} & {getattr(k.value, "value", None) for k in call.keywords}
        if name == "load" and isinstance(first, str) and not elsewhere and (card := catalog.find(first)):
            found.add(card.hub_id)
    return {h for h in found if not catalog.card(h).trust_remote_code and catalog.card(h).name not in bundled.MODELS}


@pytest.mark.parametrize("name", [lesson["name"] for lesson in manifest()])
def test_a_lesson_s_weights_are_those_it_loads(name: str) -> None:
    source = ROOT / "lessons" / f"{name}.py"
    listed = doctor.course()["weights"].get(name, [])
    assert loads(source) <= set(listed)
    text = source.read_text(encoding="utf-8") + ("BAAI/bge-m3" if "bge_m3.load" in source.read_text("utf-8") else "")
    for hub_id in listed:
        assert re.search(rf"\b{re.escape(hub_id.split('/')[1])}\b", text), hub_id
        assert catalog.card(hub_id).revision and not catalog.card(hub_id).trust_remote_code


@pytest.mark.parametrize("lesson", manifest(), ids=lambda lesson: lesson["name"])
def test_a_lesson_s_weights_fit_the_download_that_it_declares(lesson: dict[str, Any]) -> None:
    models_mb = [catalog.card(h).memory_mb_mteb or 0 for h in doctor.course()["weights"].get(lesson["name"], [])]
    assert sum(models_mb) <= lesson["download_mb"]
