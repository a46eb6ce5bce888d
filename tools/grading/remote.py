"""A submission in its sandbox, seen from the grader: run its cells, find its answers, call them.

A task's probe takes a `Remote` for the learner's function. What a call needs goes over the wire; functions that a case
holds stay here, and the sandbox asks for their results, so what a probe counts or times is counted and timed here.
"""

import contextlib
import hashlib
import pickle
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from helpers import files
from tools.grading import sandbox
from tools.grading.inside import wire

GRACE_S = 5  # for the sandbox's own alarm to go first
CALLS = 20_000  # of the grader's functions, in one call of the learner's
METHODS = ("encode",)  # of an object in a case
OPTIONS = {"batch_size", "convert_to_numpy", "convert_to_tensor", "normalize_embeddings", "prompt", "prompt_name"}
OPTIONS |= {"show_progress_bar", "precision", "truncate_dim"}  # what `encode` may be told; not `device`, not `pool`
POSITIONAL = 4  # arguments, by their place: sentences, prompt_name, prompt, batch_size
OUTPUT_CHARACTERS = 20_000_000  # of all cells
CUT = [{"output_type": "stream", "name": "stdout", "text": "... cut by the grader: the notebook shows too much ...\n"}]
NAME = re.compile(r"[A-Za-z_]\w{0,60}")


class EndedError(BaseException):
    """The submission's process is of no more use; no `except Exception` of a probe takes it for a value's fault."""


class LearnersError(Exception):
    """What a learner's function raised. Its class has the name that the learner's had."""

    line = ""


class UnfitError(LearnersError):
    """What a learner's function returned can't be had; the message is the sentence for the learner."""


class Submission:
    """A running submission. Use it in a `with`.

    Args:
        cells: (number, source) of the code cells, in order.
    """

    def __init__(
        self, cells: list[tuple[int, str]], limits: sandbox.Limits, rooms: sandbox.Rooms, *, unsafe: bool = False
    ) -> None:
        self.cells, self.limits, self.rooms, self.unsafe = cells, limits, rooms, unsafe
        self.outputs: dict[int, list[dict[str, Any]]] = {}

    def __enter__(self) -> "Submission":
        self.process, self.connection = sandbox.start(self.limits, self.rooms, unsafe=self.unsafe)
        self.functions: list[Callable[..., Any]] = []
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()
        self.process.kill()  # and with it, as its first process, all that lives in the sandbox
        self.process.wait()

    def load(self) -> None:
        """Run the cells; their outputs come into `outputs`.

        Raises:
            EndedError: they ended the process, or ran out of time.
        """
        end = time.monotonic() + self.limits.wall_s
        place, size = "before its first cell", 0
        numbers = [number for number, _ in self.cells]
        try:
            self._send({"cells": [list(cell) for cell in self.cells], "seconds": self.limits.cell_s}, end)
            while True:
                message = self._receive(end)
                if "loaded" in message:
                    return
                number, outputs = message.get("cell"), message.get("outputs")
                if type(number) is not int or number not in numbers or not isinstance(outputs, list):
                    raise wire.WireError("no cell's outputs")
                size += len(str(outputs))
                self.outputs[number] = outputs if size <= OUTPUT_CHARACTERS else CUT
                place = f"after {len(self.outputs)} of {len(self.cells)} code cells"
        except (EOFError, ConnectionError):
            raise EndedError(f"its process ended {place} ({self._why()})") from None
        except TimeoutError:
            raise EndedError(f"it was stopped {place}: {self.limits.wall_s:g} s are over") from None
        except wire.WireError as error:
            raise EndedError(f"it sent {error}, {place}") from None

    def answers(self, name: str, task: str) -> list["Remote"]:
        """The functions that may answer a task: the stub's name, and what the notebook hands to its check."""
        found = self.request({"find": name, "task": task})
        if not isinstance(found, list) or not all(type(number) is int for number in found):
            raise EndedError("it sent no list of its functions")
        return [Remote(self, number, "function") for number in found[:2]]

    def request(self, message: dict[str, Any]) -> Any:
        """One request, and what comes back for it; calls of the grader's functions are answered meanwhile.

        Raises:
            LearnersError, NotImplementedError: the learner's code raised.
            EndedError: it ended the process, or ran out of time.
        """
        end = time.monotonic() + self.limits.call_s + GRACE_S
        try:
            self._send(message | {"seconds": self.limits.call_s}, end)
            for _ in range(CALLS):
                reply = self._receive(end)
                if "call" not in reply:
                    return self._value(reply)
                self._send(self._called(reply), end)
            raise wire.WireError(f"more than {CALLS} calls of the functions it was given")
        except (EOFError, ConnectionError):
            raise EndedError(f"your code ended its process ({self._why()})") from None
        except TimeoutError:
            raise EndedError(f"it didn't end within {self.limits.call_s:g} s, and ignored the interrupt") from None
        except wire.WireError as error:
            raise EndedError(f"it sent {error}") from None

    def pack(self, value: Any) -> Any:
        """A value to send."""
        return wire.pack(value, self._handle)

    def _handle(self, value: Any) -> Any:
        if isinstance(value, Remote):
            return {"object": value._number}
        if path := file_of(value, self.rooms.models):
            return {"model": path.name}
        self.functions.append(value)
        return {"function": [len(self.functions) - 1, [name for name in METHODS if hasattr(value, name)]]}

    def _resolve(self, kind: str, content: Any) -> Any:
        if kind == "object" and isinstance(content, list) and len(content) == 2 and type(content[0]) is int:
            return Remote(self, content[0], str(content[1])[:60])
        raise wire.WireError(f"a value of the unknown kind {kind[:20]!r}")

    def _value(self, reply: dict[str, Any]) -> Any:
        if "value" in reply:
            return wire.unpack(reply["value"], self._resolve)
        if "unfit" in reply:
            raise UnfitError(f"what it returns is {str(reply['unfit'])[:200]}")
        kind, text = str(reply.get("error")), str(reply.get("text"))[:300]
        if isinstance(kinds := reply.get("kinds", []), list) and "NotImplementedError" in kinds:
            raise NotImplementedError(text)
        raised: type[LearnersError] = type(kind if NAME.fullmatch(kind) else "Error", (LearnersError,), {})
        error = raised(text)
        error.line = str(reply.get("line", ""))[:200]
        raise error

    def _called(self, message: dict[str, Any]) -> dict[str, Any]:
        """Call a function of a case for the sandbox."""
        number, method = message["call"], message.get("method")
        if type(number) is not int or not 0 <= number < len(self.functions) or method not in ("", *METHODS):
            raise wire.WireError("a call of no function it was given")
        args = wire.unpack(message.get("args"), self._resolve)
        options = wire.unpack(message.get("options"), self._resolve)
        if not isinstance(args, list) or not isinstance(options, dict) or not all(isinstance(k, str) for k in options):
            raise wire.WireError("a call without arguments")
        if len(args) > POSITIONAL or options.keys() - OPTIONS:
            return {"refused": f"while grading it takes {POSITIONAL} arguments and {', '.join(sorted(OPTIONS))}"}
        try:
            function = self.functions[number]
            value = (getattr(function, method) if method else function)(*args, **options)
            return {"value": self.pack(value)}
        except wire.UnfitError as error:
            return {"refused": f"what the grader's function returns is {error}"}
        except Exception as error:
            return {"refused": f"{type(error).__name__}: {error}"[:300]}

    def _send(self, message: dict[str, Any], end: float) -> None:
        self.connection.settimeout(max(0.01, end - time.monotonic()))
        wire.send(self.connection, message)

    def _receive(self, end: float) -> dict[str, Any]:
        with _deadline(self.connection, end):
            return wire.receive(self.connection)

    def _why(self) -> str:
        """What is known of how the process ended."""
        self.connection.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = self.process.wait(GRACE_S)
            number = code - 128 if code > 128 else -code
            if number > 0:
                names = {signal.SIGKILL: "killed", signal.SIGXCPU: "out of CPU time", signal.SIGXFSZ: "file too large"}
                return names.get(signal.Signals(number), signal.Signals(number).name)
            return f"exit code {code}"
        return "it hung up"


class Remote:
    """An object of the submission's: call it, or read an attribute."""

    def __init__(self, submission: Submission, number: int, kind: str) -> None:
        self._submission, self._number, self._kind = submission, number, kind

    def __call__(self, *args: Any, **options: Any) -> Any:
        """Call it, in the sandbox."""
        packed = self._submission.pack(list(args)), self._submission.pack(options)
        return self._submission.request({"object": self._number, "args": packed[0], "options": packed[1]})

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # NumPy and others look for these
            raise AttributeError(name)
        try:
            return self._submission.request({"object": self._number, "get": name})
        except LearnersError as error:
            raise AttributeError(name) from error

    def __repr__(self) -> str:
        return f"<{self._kind}>"


@contextlib.contextmanager
def _deadline(connection: socket.socket, end: float) -> Iterator[None]:
    """A time for the whole message, so that one that trickles in is late, too."""

    def late(*_: object) -> None:
        raise TimeoutError

    connection.settimeout(None)
    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, max(0.01, end - time.monotonic()))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def file_of(value: Any, models: Path) -> Path | None:
    """Where a model or tokenizer lies for the sandbox to load, written on the first call; None for what is neither.

    It is pickled, which is safe in this direction only: the sandbox reads what the grader wrote, never the reverse.
    """
    module = type(value).__module__
    if module.startswith("transformers.") and hasattr(value, "convert_tokens_to_ids"):
        facts = [value.get_vocab(), value.init_kwargs]
    elif module.startswith("sentence_transformers.") and hasattr(value, "encode_query"):
        sums = [float(p.sum()) for p in value.parameters()]
        facts = [repr(value), value.prompts, value.default_prompt_name, value.max_seq_length, sums]
    else:
        return None
    path = models / hashlib.sha256(repr(facts).encode()).hexdigest()[:16]
    if not path.exists():
        files.replace(path, pickle.dumps(value))
    return path
