"""Read a notebook that somebody handed in: its cells without their outputs, or why it is none.

Pictures make honest notebooks large, so the limit is for what is kept. A large file is read in a process of its own
with a limit of memory, as a small text can become a large value.
"""

import json
import multiprocessing
import os
import resource
from pathlib import Path
from typing import Any

FILE_BYTES = 20_000_000  # of a notebook without its outputs; a file up to this size is read at once
RAW_BYTES = 200_000_000  # of a notebook with them
READ_MB, READ_S = 2_000, 60  # for reading a large one
CELLS = 1_000

Read = tuple[list[dict[str, Any]], str | None]


def read(path: Path) -> Read:
    """A notebook's cells (type, source, metadata), and why it can't be read."""
    size = path.stat().st_size
    if size > RAW_BYTES:
        return [], f"the file has {size / 1e6:.0f} MB, and {RAW_BYTES / 1e6:.0f} MB is the limit"
    return _parsed(path) if size <= FILE_BYTES else _apart(path)


def _parsed(path: Path) -> Read:  # noqa: PLR0911, a reason each
    try:
        notebook = json.loads(path.read_bytes())
        cells = [_cell(cell) for cell in notebook["cells"]]
    except json.JSONDecodeError as error:
        return [], f"it isn't JSON, so no notebook: line {error.lineno}, {error.msg}"
    except (KeyError, TypeError, AttributeError):
        return [], "it is JSON, but no notebook of format 4: save it again with Jupyter"
    except (ValueError, RecursionError):
        return [], "it isn't text in UTF-8 that holds a notebook: save it again with Jupyter"
    except OSError as error:
        return [], f"the file can't be read ({error.strerror})"
    if len(cells) > CELLS:
        return [], f"it has {len(cells)} cells, and {CELLS} is the limit"
    if (kept := sum(len(cell["source"]) for cell in cells)) > FILE_BYTES:
        return [], f"its cells hold {kept / 1e6:.0f} MB without outputs, and {FILE_BYTES / 1e6:.0f} MB is the limit"
    return cells, None


def _apart(path: Path) -> Read:
    """`_parsed` in a process with a limit of memory and time."""
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_send_parsed, args=(path, there))
    process.start()
    there.close()
    try:
        if here.poll(READ_S):
            cells, problem = json.loads(here.recv_bytes())
            return cells, problem
        return [], f"reading it takes more than {READ_S} s: clear its outputs and save it again"
    except EOFError:
        return [], f"reading it takes more than {READ_MB / 1000:g} GB of memory: clear its outputs and save it again"
    finally:
        here.close()
        process.kill()
        process.join()


def _send_parsed(path: Path, there: Any) -> None:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    most = pages * os.sysconf("SC_PAGE_SIZE") + READ_MB * 1_000_000
    resource.setrlimit(resource.RLIMIT_AS, (most, resource.RLIM_INFINITY))
    try:
        body = json.dumps(_parsed(path)).encode()
    except MemoryError:
        return
    there.send_bytes(body)


def _cell(cell: dict[str, Any]) -> dict[str, Any]:
    source = cell["source"] if isinstance(cell["source"], str) else "".join(cell["source"])
    kind = cell["cell_type"] if cell["cell_type"] in ("code", "markdown") else "raw"
    grading = (cell.get("metadata") or {}).get("nbgrader")
    grade_id = grading.get("grade_id") if isinstance(grading, dict) else None
    kept = {"nbgrader": {"grade_id": whole(grade_id)}} if isinstance(grade_id, str) else {}
    return {"cell_type": kind, "source": whole(source), "metadata": kept}


def whole(text: str) -> str:
    """The text with `?` for each half of a character (a lone surrogate), which no file in UTF-8 can hold."""
    return text.encode("utf-8", "replace").decode()
