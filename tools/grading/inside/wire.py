"""Values between the grader and the sandbox: JSON in frames, never pickle. Both sides import this file.

A value that JSON has not is an object of one key, its kind: `{"tuple": [...]}`, `{"array": [dtype, shape, base64]}`,
`{"series": [index, values]}`, `{"frame": [index, values of each column, columns]}`.
What is no data (a function, a model) goes through `handle` on one side and `resolve` on the other. The reader takes
nothing on trust: kinds, shapes, depth and size are checked, and an array holds numbers only.
"""

import base64
import json
import math
import socket
import struct
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

FRAME_BYTES = 4_000_000  # the largest message either side reads
DEPTH = 20
NUMBERS = "biufc"  # kinds of NumPy numbers; no objects, which would be pickles
INTEGER_BITS = 14_000  # of about 4,200 digits; Python's JSON reads no more than 4,300
LARGE = f"larger than {FRAME_BYTES / 1e6:g} MB"


class WireError(ValueError):
    """What came over the wire can't be read."""


class UnfitError(WireError):
    """A value can't be sent; the message says what it is: "larger than 4 MB"."""


def send(connection: socket.socket, message: dict[str, Any]) -> None:
    """Write one message.

    Raises:
        UnfitError: it is too large.
    """
    body = json.dumps(message).encode()
    if len(body) > FRAME_BYTES:
        raise UnfitError(LARGE)
    connection.sendall(struct.pack(">I", len(body)) + body)


def receive(connection: socket.socket) -> dict[str, Any]:
    """Read one message.

    Raises:
        EOFError: the other side is gone.
        TimeoutError: it says nothing within the connection's time.
        WireError: it isn't a message.
    """
    (size,) = struct.unpack(">I", _read(connection, 4))
    if size > FRAME_BYTES:
        raise WireError(f"a message of {size} bytes, and {FRAME_BYTES} is the limit")
    try:
        message = json.loads(_read(connection, size))
    except (ValueError, RecursionError) as error:
        raise WireError(f"a message that isn't JSON ({type(error).__name__})") from None
    if not isinstance(message, dict):
        raise WireError("a message that is no object")
    return message


def _read(connection: socket.socket, size: int) -> bytes:
    parts = bytearray()
    while len(parts) < size:
        part = connection.recv(min(size - len(parts), 1 << 20))
        if not part:
            raise EOFError("the other side is gone")
        parts += part
    return bytes(parts)


def pack(value: Any, handle: Callable[[Any], Any], depth: int = 0) -> Any:  # noqa: PLR0911, PLR0912, a kind each
    """A value as JSON has it. `handle` says what stands for anything that isn't plain data.

    Raises:
        UnfitError: it is too deep or too large.
    """
    if depth > DEPTH:
        raise UnfitError(f"nested deeper than {DEPTH} lists or dicts")
    if isinstance(value, str | bytes | list | tuple | set | frozenset | dict) and len(value) > FRAME_BYTES // 2:
        raise UnfitError(LARGE)
    if isinstance(value, int) and value.bit_length() > INTEGER_BITS:
        raise UnfitError("an integer of more than 4,000 digits")

    def inner(items: Any) -> list[Any]:
        return [pack(item, handle, depth + 1) for item in items]

    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, np.ndarray | np.generic) and value.dtype.kind in NUMBERS:
        return _array(value, "array" if isinstance(value, np.ndarray) else "scalar")
    if isinstance(value, np.ndarray):
        return pack(value.tolist(), handle, depth)
    for plain in (int, float, str):
        if isinstance(value, plain):
            return plain(value)
    if isinstance(value, complex):
        return {"complex": [value.real, value.imag]}
    for kind, name in ((list, "list"), (tuple, "tuple"), (set, "set"), (frozenset, "frozenset")):
        if isinstance(value, kind):
            return {name: inner(value)}
    if isinstance(value, dict):
        return {"dict": [inner(pair) for pair in value.items()]}
    if isinstance(value, bytes):
        return {"bytes": base64.b64encode(value).decode()}
    if value is Ellipsis:
        return {"ellipsis": True}
    pandas = sys.modules.get("pandas")
    if pandas is not None and isinstance(value, pandas.Series):
        return {"series": inner((list(value.index), value.to_numpy()))}
    if pandas is not None and isinstance(value, pandas.DataFrame):
        columns = [column.to_numpy() for _, column in value.items()]
        return {"frame": inner((list(value.index), columns, list(value.columns)))}
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(value, torch.Tensor):
        numbers = value.detach().cpu().to_dense()
        return _array((numbers.float() if numbers.dtype == torch.bfloat16 else numbers).numpy(), "tensor")
    return handle(value)


def _array(value: Any, kind: str) -> dict[str, Any]:
    value = np.asarray(value)
    if value.nbytes > FRAME_BYTES // 2:
        raise UnfitError(LARGE)
    return {kind: [value.dtype.str, list(value.shape), base64.b64encode(value.tobytes()).decode()]}


def unpack(packed: Any, resolve: Callable[[str, Any], Any], depth: int = 0) -> Any:  # noqa: PLR0911, a kind each
    """The value of a `pack`; `resolve(kind, content)` makes what isn't plain data.

    Raises:
        WireError: this was made by no `pack`.
    """
    if packed is None or isinstance(packed, bool | int | float | str):
        return packed
    if depth > DEPTH or not isinstance(packed, dict) or len(packed) != 1:
        raise WireError("a value of no known kind")
    ((kind, content),) = packed.items()
    try:
        if kind in ("list", "tuple", "set", "frozenset"):
            items = [unpack(item, resolve, depth + 1) for item in content]
            return {"list": list, "tuple": tuple, "set": set, "frozenset": frozenset}[kind](items)
        if kind == "dict":
            return {unpack(k, resolve, depth + 1): unpack(v, resolve, depth + 1) for k, v in content}
        if kind == "bytes":
            return base64.b64decode(content, validate=True)
        if kind == "complex":
            return complex(*content)
        if kind == "ellipsis":
            return Ellipsis
        if kind in ("array", "scalar", "tensor"):
            return _numbers(kind, *content)
        if kind in ("series", "frame"):
            return _table(kind, *(unpack(item, resolve, depth + 1) for item in content))
    except WireError:
        raise
    except (TypeError, ValueError, OverflowError, AttributeError, KeyError) as error:
        raise WireError(f"a {kind} that can't be read ({type(error).__name__})") from None
    return resolve(kind, content)


def _table(kind: str, index: list[Any], values: Any, columns: list[Any] | None = None) -> Any:
    import pandas

    if not all(isinstance(some, list | np.ndarray) for some in (index, values, *(values if columns else ()))):
        raise WireError(f"a {kind} of no columns")
    if columns is None:
        return pandas.Series(values, index=index)
    frame = pandas.DataFrame(dict(enumerate(values)), index=index)
    frame.columns = columns
    return frame


def _numbers(kind: str, name: str, shape: list[int], coded: str) -> Any:
    dtype, body = np.dtype(name), base64.b64decode(coded, validate=True)
    if dtype.kind not in NUMBERS or not all(type(n) is int and 0 <= n <= 10**7 for n in shape) or len(shape) > 8:
        raise WireError("an array of no numbers, or of no shape")
    if math.prod(shape) * dtype.itemsize != len(body):
        raise WireError("an array whose shape isn't that of its bytes")
    array = np.frombuffer(bytearray(body), dtype=dtype).reshape(shape)
    if kind == "tensor":
        import torch

        return torch.from_numpy(array)
    return array[()] if kind == "scalar" else array
