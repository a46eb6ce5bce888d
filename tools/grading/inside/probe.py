"""What runs in the sandbox: a notebook's cells, then the learner's functions, whenever the grader asks for one.

`python probe.py DESCRIPTOR MODELS` talks to the grader over that socket; in the folder MODELS lie models that it wrote.
The grader sends the cells; each cell's outputs go
back, for the feedback. Only then come inputs, one call at a time. Nothing here is trusted: a notebook may change
every line of it and gains the right to send values, which the grader compares with its own.
"""

import collections.abc
import contextlib
import io
import itertools
import json
import numbers
import pathlib
import pickle
import signal
import socket
import sys
import threading
import traceback
from typing import Any

import wire  # type: ignore[import-not-found]  # beside this file

TEXT = 20_000  # characters of a cell's output that are kept
PICTURE = 400_000  # base64 characters of a picture that is kept
ITEMS = 100_000  # of an iterator
CELL_BYTES = 2_000_000  # of a cell's outputs; what goes beyond costs the cell that, and nothing else


class Grader:
    """The other end: objects of this process that it may call, and its own that we may."""

    def __init__(self, connection: socket.socket, folder: pathlib.Path) -> None:
        self.connection, self.folder = connection, folder  # the folder holds models that the grader wrote
        self.objects: list[Any] = []
        self.models: dict[str, Any] = {}
        self.lock = threading.RLock()

    def ask(self, message: dict[str, Any]) -> Any:
        """Have the grader call one of its functions, and wait for what that returns."""
        with self.lock:
            wire.send(self.connection, message)
            reply = wire.receive(self.connection)
        if "refused" in reply:
            raise RuntimeError(reply["refused"])
        return self.unpack(reply["value"])

    def pack(self, value: Any) -> Any:
        """A value to send; what is no data but behaves like some becomes it, the rest stays here under a number."""
        return wire.pack(value, self._handle)

    def unpack(self, packed: Any) -> Any:
        """A value that was sent."""
        return wire.unpack(packed, self._resolve)

    def _handle(self, value: Any) -> Any:
        if hasattr(value, "__array__"):
            import numpy as np

            return self.pack(np.asarray(value))
        if isinstance(value, numbers.Real):
            return float(value)
        if isinstance(value, collections.abc.Mapping):
            return self.pack(dict(value))
        if isinstance(value, collections.abc.Iterable) and not isinstance(value, type):
            return self.pack(list(itertools.islice(value, ITEMS)))
        self.objects.append(value)
        return {"object": [len(self.objects) - 1, type(value).__name__]}

    def _resolve(self, kind: str, content: Any) -> Any:
        if kind == "object":
            return self.objects[content]
        if kind == "function":
            return Function(self, *content)
        if content not in self.models:  # a file of the grader's, which the sandbox can't write
            self.models[content] = pickle.loads((self.folder / content).read_bytes())
        return self.models[content]


class Function:
    """A function of the grader's, or an object of whose methods some may be called."""

    def __init__(self, grader: Grader, number: int, methods: list[str]) -> None:
        self._grader, self._number, self._methods = grader, number, methods

    def __call__(self, *args: Any, **options: Any) -> Any:
        """Call it, in the grader."""
        return self._call("", *args, **options)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name not in self._methods:
            raise AttributeError(name)
        return lambda *args, **options: self._call(name, *args, **options)

    def _call(self, name: str, *args: Any, **options: Any) -> Any:
        packed = self._grader.pack(list(args)), self._grader.pack(options)
        return self._grader.ask({"call": self._number, "method": name, "args": packed[0], "options": packed[1]})


class Head(io.TextIOBase):
    """A stream that keeps its beginning."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self.size = self.dropped = 0

    def write(self, text: str) -> int:
        """Keep what fits."""
        kept = str(text)[: max(0, TEXT - self.size)]
        self.parts.append(kept) if kept else None
        self.size += len(kept)
        self.dropped += len(text) - len(kept)
        return len(text)

    def outputs(self, name: str) -> list[dict[str, Any]]:
        """The stream as a notebook has it."""
        cut = f"\n... {self.dropped:,} more characters, cut by the grader ..." if self.dropped else ""
        return [{"output_type": "stream", "name": name, "text": "".join(self.parts) + cut}] if self.size else []


@contextlib.contextmanager
def within(seconds: float) -> Any:
    """Interrupt what takes longer, as far as it can be interrupted."""

    def late(*_: Any) -> None:
        raise TimeoutError(f"it didn't end within {seconds:g} s")

    signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def run(shell: Any, source: str, seconds: float) -> tuple[list[dict[str, Any]], BaseException | None]:
    """Run a cell; its outputs as a notebook has them, and what it raised."""
    from IPython.utils.capture import capture_output

    out, err, shown = Head(), Head(), []
    shell._showtraceback = lambda kind, error, lines: shown.extend(lines)
    with (
        capture_output(stdout=False, stderr=False) as got,
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        within(seconds),
    ):
        result = shell.run_cell(source)
    raised = result.error_before_exec or result.error_in_exec
    outputs = [*out.outputs("stdout"), *err.outputs("stderr")]
    size = dropped = 0
    for rich in got.outputs:
        data = {k: v for k, v in rich.data.items() if isinstance(v, str)}
        kept = {"text/plain": data["text/plain"][:TEXT]} if "text/plain" in data else {}
        if len(data.get("image/png", "")) in range(1, PICTURE):
            kept["image/png"] = data["image/png"]
        size += sum(len(json.dumps(part)) for part in kept.values())
        if size > CELL_BYTES:
            dropped += 1
        else:
            outputs.append({"output_type": "display_data", "data": kept, "metadata": {}})
    if dropped:
        told = f"... {dropped:,} more outputs, cut by the grader ...\n"
        outputs.append({"output_type": "stream", "name": "stdout", "text": told})
    if raised is not None:
        facts = {"ename": _kind(raised), "evalue": said(raised, TEXT), "traceback": "\n".join(map(str, shown))[:TEXT]}
        outputs.append({"output_type": "error", **facts})
    return outputs, raised


def said(error: BaseException, most: int) -> str:
    """An exception's text; of one whose text can't be had, that."""
    try:
        return str(error)[:most]
    except BaseException:
        return "its text can't be shown: making it raises"


def _kind(error: BaseException) -> str:
    """The name of an exception's class, whatever the class says of itself."""
    return str(type.__getattribute__(type(error), "__name__"))


def shell() -> Any:
    """An IPython without history, colours and a terminal."""
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    config = Config()
    config.HistoryManager.enabled = False
    config.InteractiveShell.colors = "nocolor"
    return InteractiveShell.instance(config=config)


def load(grader: Grader, request: dict[str, Any]) -> dict[str, Any]:
    """Run the cells, and once more those that raised, as their imports may stand further down; returns their names."""
    ipython = shell()
    again = []
    for number, source in request["cells"]:
        outputs, raised = run(ipython, source, request["seconds"])
        if raised is not None and not isinstance(raised, TimeoutError):
            again.append((number, source, outputs))
        _show(grader, number, outputs)
    for number, source, before in again:
        outputs, raised = run(ipython, source, request["seconds"])
        _show(grader, number, before if raised is not None else outputs)
    return dict(ipython.user_ns)


def _show(grader: Grader, number: int, outputs: list[dict[str, Any]]) -> None:
    """Send a cell's outputs, or why they can't be."""
    try:
        wire.send(grader.connection, {"cell": number, "outputs": outputs})
    except (wire.WireError, TypeError, ValueError, RecursionError):
        text = "... outputs that can't be kept, cut by the grader ...\n"
        wire.send(
            grader.connection,
            {"cell": number, "outputs": [{"output_type": "stream", "name": "stdout", "text": text}]},
        )


def answer(grader: Grader, names: dict[str, Any], request: dict[str, Any]) -> dict[str, Any]:
    """What one request of the grader gives."""
    try:
        if "find" in request:  # the answers to a task: the stub's name, and what the notebook hands to its check
            checks = sys.modules.get("helpers.checks")
            found = [names.get(request["find"]), getattr(checks, "handed_in", {}).get(request["task"])]
            grader.objects += (answers := [one for one in found if callable(one)])
            return {"value": {"list": list(range(len(grader.objects) - len(answers), len(grader.objects)))}}
        target = grader.objects[request["object"]]
        if "get" in request:
            return _returned(grader, getattr(target, request["get"]))
        args, options = grader.unpack(request["args"]), grader.unpack(request["options"])
        with within(request["seconds"]), contextlib.redirect_stdout(Head()), contextlib.redirect_stderr(Head()):
            value = target(*args, **options)
            return _returned(grader, value)
    except BaseException as error:
        frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename.startswith("<ipython-input")]
        line = f"{frames[-1].lineno}: {frames[-1].line}" if frames and frames[-1].line else ""
        kinds = [str(type.__getattribute__(kind, "__name__")) for kind in type.mro(type(error))]
        return {"error": _kind(error), "kinds": kinds, "text": said(error, 300), "line": line[:200]}


def _returned(grader: Grader, value: Any) -> dict[str, Any]:
    """What a function returned, or why it can't be sent."""
    try:
        packed = {"value": grader.pack(value)}
        if len(json.dumps(packed)) > wire.FRAME_BYTES - 1000:
            raise wire.UnfitError(wire.LARGE)
        return packed
    except wire.UnfitError as error:
        return {"unfit": str(error)}
    except MemoryError:
        return {"unfit": wire.LARGE}


def serve(grader: Grader, names: dict[str, Any]) -> None:
    """Answer requests until the grader hangs up."""
    while True:
        try:
            request = wire.receive(grader.connection)
        except EOFError:
            return
        try:
            wire.send(grader.connection, answer(grader, names, request))
        except BaseException as error:  # nothing has been written yet
            wire.send(grader.connection, {"unfit": f"nothing that can be sent ({_kind(error)})"})


def main() -> None:
    """Load what the grader sends, then serve it."""
    grader = Grader(socket.socket(fileno=int(sys.argv[1])), pathlib.Path(sys.argv[2]))
    names = load(grader, wire.receive(grader.connection))
    wire.send(grader.connection, {"loaded": True})
    serve(grader, names)


if __name__ == "__main__":
    main()
