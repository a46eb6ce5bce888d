"""Corpora of a million texts: what `stream` and `scale` add to `encode`, whether memory stays, what a crash costs.

    python -m benchmarks.corpus                          what a part costs beside `encode`, in 16 rounds
    python -m benchmarks.corpus --stream 200000          a run that is killed once and goes on, in int8
    python -m benchmarks.corpus --scale 60000            the same by two actors of Ray, in float32

Texts are drawn from the course's own mixture (`benchmarks.encoding`), about 54 tokens each, with a number in front so
that no two are equal. MiniLM, one thread a process.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.encoding import corpus
from helpers import load
from helpers.encode import encode
from helpers.encode.stream import CHUNK_TEXTS, stream
from helpers.measure import environment

MODEL, ROUNDS, PART, MILLION = "all-MiniLM-L6-v2", 16, 512, 1_000_000
STREAM = """
import sys
from helpers import load
from helpers.encode.stream import stream
stream(load({model!r}, device="cpu"), sys.argv[1], sys.argv[2], precision="unpadded-int8")
"""
SCALE = """
import sys
from helpers.encode import scale
scale.embed(sys.argv[1], sys.argv[2], {model!r}, actors=2)
"""


def write(path: Path, number: int, seed: int = 0) -> None:
    """A Parquet file of so many texts, with ids."""
    found, draw = corpus(), np.random.default_rng(seed)
    with pq.ParquetWriter(path, pa.schema([("id", pa.string()), ("text", pa.string())])) as writer:
        for start in range(0, number, 10_000):
            ids = range(start, min(start + 10_000, number))
            texts = [f"{i} {found[k]}" for i, k in zip(ids, draw.integers(0, len(found), len(ids)), strict=True)]
            writer.write_table(pa.table({"id": [str(i) for i in ids], "text": texts}))


def beside_encode(folder: Path) -> None:
    """CPU seconds of `stream` over those of `encode`, on the same texts, in rounds."""
    model, ratios = load(MODEL, device="cpu"), list[float]()
    for turn in range(ROUNDS + 1):  # the first warms up
        source = folder / f"{turn}.parquet"
        write(source, PART, seed=turn)
        texts = pq.read_table(source).column("text").to_pylist()
        ways: dict[str, Any] = {
            "encode": partial(encode, model, texts),
            "stream": partial(stream, model, source, folder / f"vectors{turn}"),
        }
        seconds: dict[str, float] = {}
        for name in sorted(ways, reverse=bool(turn % 2)):
            begin = time.process_time()
            ways[name]()
            seconds[name] = time.process_time() - begin
        ratios.append(seconds["encode"] / seconds["stream"])
    low, middle, high = np.quantile(ratios[1:], [0, 0.5, 1])
    print(f"texts per CPU-second of stream over encode's, a folder of {PART} texts each, {ROUNDS} rounds: ", end="")
    print(f"{middle:.3f} ({low:.3f} to {high:.3f}); a part of {CHUNK_TEXTS} pays the start an eighth as often")


def tree(process: psutil.Process) -> tuple[float, float]:
    """MB of a process and all that it started, shared pages counted once, and their CPU seconds."""
    memory, cpu = 0.0, 0.0
    for one in [process, *process.children(recursive=True)]:
        with suppress(psutil.NoSuchProcess):
            memory += one.memory_full_info().pss / 1e6
            times = one.cpu_times()
            cpu += times.user + times.system
    return memory, cpu


def rows_in(folder: Path) -> int:
    """Rows in the files that are whole."""
    found = 0
    for file in folder.glob("[!_.]*.parquet"):
        with suppress(OSError, pa.ArrowInvalid):
            found += pq.read_metadata(file).num_rows
    return found


def killed_once(program: str, folder: Path, number: int, begun: str) -> None:
    """Run a program over a corpus, kill it in its second third, and let it go on; tell memory, speed and loss."""
    source, target = folder / "source.parquet", folder / "vectors"
    write(source, number)
    command = [sys.executable, "-c", program.format(model=MODEL), str(source), str(target)]
    kept = 0
    for crash in (True, False):
        process = psutil.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        begin, memory, reached, cpu = time.perf_counter(), dict[int, float](), kept, 0.0
        stop_at = number * np.random.default_rng(int(time.time())).uniform(1 / 3, 2 / 3)
        while process.poll() is None:
            time.sleep(2)
            where = folder / begun if (folder / begun).exists() else target
            if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                now, spent = tree(process)
                cpu = max(cpu, spent)
                if (rows := rows_in(where)) != reached:
                    reached = rows
                    memory[rows] = now
                    print(
                        f"{rows:9,} texts, {now:6.0f} MB, {cpu:7.0f} CPU s, {time.perf_counter() - begin:6.0f} s",
                        flush=True,
                    )
            if crash and reached > stop_at:
                time.sleep(np.random.default_rng().uniform(0, 20))
                others = process.children(recursive=True)
                for one in [process, *others]:
                    with suppress(psutil.NoSuchProcess):
                        one.kill()
                psutil.wait_procs([process, *others], timeout=30)
                kept = rows_in(where)
                print(f"killed with {kept:,} texts written; begun again", flush=True)
                break
        else:
            if process.returncode:
                raise SystemExit(f"it ended with {process.returncode}")
        levels = list(memory.values())
        if len(levels) > 2:
            print(f"memory after the first files {levels[1]:.0f} MB, at the end {levels[-1]:.0f}", flush=True)
    written = pq.read_table(target).num_rows
    done = number - kept
    assert written == number, f"{written} of {number} texts have a vector"
    print(f"{number:,} texts, each once; the second call encoded {done:,} of them in {cpu:.0f} CPU s, so ", end="")
    print(f"{done / cpu:.0f} a CPU-second; a million, extrapolated: {MILLION / done * cpu / 3600:.1f} CPU hours")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--stream", type=int, metavar="TEXTS")
    parser.add_argument("--scale", type=int, metavar="TEXTS")
    chosen = parser.parse_args()
    machine = environment.hardware()
    print(f"{machine['cpu']} ({', '.join(machine['cpu_features'])}), one thread a process")
    with tempfile.TemporaryDirectory() as made:
        if chosen.stream:
            killed_once(STREAM, Path(made), chosen.stream, "vectors")
        elif chosen.scale:
            killed_once(SCALE, Path(made), chosen.scale, ".vectors.begun")
        else:
            beside_encode(Path(made))


if __name__ == "__main__":
    main()
