"""Characters and the bytes they come from: which encoding a file has, and what no tokenizer can take in a text."""

import codecs
import contextlib
import gzip
import io
import string
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, TextIO, cast

from helpers.errors import CourseError

PIECE = 1 << 20
MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# Characters that show nothing: blanks of every width, joiners, marks of direction.
BLANKS = string.whitespace + "\x1c\x1d\x1e\x1f\x85\xa0\xad\u034f\u061c\u1680\u180e\u2028\u2029\u3000\u2800\u3164\ufeff"
BLANKS += "".join(map(chr, (*range(0x2000, 0x2010), *range(0x202A, 0x2030), *range(0x205F, 0x2070))))


def must_exist(path: Path) -> None:
    """CourseError where there is no such file, or an empty one."""
    try:
        there = path.exists()
    except OSError as error:
        raise CourseError(f"{str(path)[:200]!r} can't be a path ({error.strerror}); check it.") from None
    except ValueError:  # a NUL
        raise CourseError(f"{str(path)[:200]!r} can't be a path; check it.") from None
    if not there:
        raise CourseError(f"{path} doesn't exist; check the path (the course's own data is called 'course').")
    if path.is_file() and path.stat().st_size == 0:
        raise CourseError(f"{path} is empty; fill it or name another file.")


def suffix_of(path: Path) -> str:
    """The suffix that tells the kind of a file, in lower case, that of compression aside."""
    return (path.with_suffix("") if path.suffix.lower() == ".gz" else path).suffix.lower()


def text_fault(text: str) -> str | None:
    """What no tokenizer can take in a text, and the mend; None where there is nothing."""
    if "\0" in text:
        return (
            "holds a NUL character; take it out (every other character a NUL: it is UTF-16, name it with encoding=)"
            if text.count("\0") > 1
            else "holds a NUL character; take it out"
        )
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            return (
                f"holds half a character (the lone surrogate U+{ord(text[error.start]):04X}, as a cut emoji leaves); "
                "take it out"
            )
    return None


def is_blank(text: str) -> bool:
    """Whether nothing of a text can be seen."""
    return not text.strip(BLANKS)


@contextlib.contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """A file's bytes, unpacked where it is gzip, whatever its name says.

    Raises:
        CourseError: it can't be read, or is a broken or another archive.
    """
    try:
        with path.open("rb") as raw:
            magic = raw.read(4)
            raw.seek(0)
            if magic == b"PK\x03\x04":
                raise CourseError(f"{path} is a zip archive (as .xlsx is); unpack it, or save the sheet as .csv.")
            if magic == b"\xd0\xcf\x11\xe0":
                raise CourseError(f"{path} is an old Excel file; save the sheet as .csv.")
            if magic[:2] == b"\x1f\x8b":
                with gzip.GzipFile(fileobj=raw) as unpacked:
                    yield cast(IO[bytes], unpacked)
            else:
                yield raw
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise CourseError(f"{path} is no whole gzip file ({error}); pack it again.") from None
    except OSError as error:
        raise CourseError(f"{path} can't be read: {error.strerror or error}.") from None


def decoding(path: Path, asked: str | None) -> tuple[str, tuple[str, ...]]:
    """The encoding of a text file, and what is to be said of it.

    Raises:
        CourseError: there is no encoding of that name, or the file is in neither of those that are tried.
    """
    if asked:
        try:
            io.TextIOWrapper(io.BytesIO(), encoding=asked)
        except (LookupError, ValueError):
            raise CourseError(f"There is no encoding {asked!r}; write utf-8, utf-16, cp1252, ...") from None
        return asked, ()
    with opened(path) as file:
        head = file.read(4)
        for mark, name in MARKS:
            if head.startswith(mark):
                return name, ()
        utf8, western, line, piece = codecs.getincrementaldecoder("utf-8")("surrogatepass"), True, 1, head
        first: str | None = None
        valid = True
        fault = ""
        while True:
            if valid:
                try:
                    utf8.decode(piece, final=not piece)
                except UnicodeDecodeError:
                    valid = False
            if western and not piece.isascii():
                try:
                    piece.decode("cp1252")
                except UnicodeDecodeError as error:
                    western = False
                    there = line + piece[: error.start].count(b"\n")
                    fault = f"line {there}: byte 0x{piece[error.start]:02x}"
            if not valid and not western:
                raise CourseError(
                    f"{path}, {fault} is neither UTF-8 nor cp1252; save the file as UTF-8, or name its encoding."
                )
            if not piece:
                break
            line += piece.count(b"\n")
            piece = file.read(PIECE)
    if valid:
        return "utf-8", ()
    with opened(path) as file:
        first = next((row.decode("cp1252").strip() for row in file if not row.isascii()), "")
    return "cp1252", (f"{path.name} isn't UTF-8; read as cp1252 (Western Windows): {first[:80]!r}. "
                      "Where that looks wrong, name its encoding with encoding=.",)  # fmt: skip


@contextlib.contextmanager
def opened_text(path: Path, encoding: str, newline: str = "") -> Iterator[TextIO]:
    """A file's text; line breaks are as they are, unless `newline` is another."""
    with opened(path) as raw:  # half a character is let through, for `text_fault` to name its row
        yield io.TextIOWrapper(cast(Any, raw), encoding=encoding, errors="surrogatepass", newline=newline)


def undecoded(path: Path, after: int, encoding: str) -> CourseError:
    """The error for a file that isn't in its encoding."""
    return CourseError(f"{path}, after line {after}: it isn't {encoding}; name its encoding with encoding=.")


def text_lines(path: Path, encoding: str) -> Iterator[str]:
    """The lines of a text file, as they are.

    Raises:
        CourseError: it can't be read, or isn't in that encoding.
    """
    with opened_text(path, encoding) as file:
        number = 0
        try:
            for line in file:
                number += 1
                yield line
        except UnicodeDecodeError:
            raise undecoded(path, number, encoding) from None
