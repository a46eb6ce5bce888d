"""What was handed in, and whose it is: files in folders, in zips, and in zips inside these.

Whose a file is, the outermost name says: the folder (or Moodle's or Canvas's name) under the source. Whatever lies
deeper, in folders or zips of a student's own, is that student's, however it is called. Members of a zip are read one by
one into files with names of ours, so that no name in a zip reaches the disk.
"""

import lzma
import re
import stat
import unicodedata
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from helpers.errors import CourseError
from tools.grading.notebooks import RAW_BYTES, whole

ZIP_BYTES, ZIP_FILES = 2_000_000_000, 5_000  # of all that one student's zips, or a platform's of one student, hold
TOO_MUCH = f"it unpacks to more than {ZIP_FILES} notebooks and zips or {ZIP_BYTES / 1e9:g} GB, which is the limit"
ZIPS_DEEP = 3  # a zip in a zip in a zip
IGNORED = {"__MACOSX", ".ipynb_checkpoints"}
SUFFIX = re.compile(r"\.ipynb(?:\.(?:txt|json))?$", re.IGNORECASE)  # browsers add the second
MOODLE = re.compile(r"(?P<student>.+?_\d+)_assignsubmission_(?:file|onlinetext)_?(?P<file>.*)", re.DOTALL)
CANVAS = re.compile(r"(?P<student>[^_]+)_(?:LATE_)?(?P<number>\d+)_\d+_(?P<file>.+)", re.DOTALL)
UNKNOWN = ""  # the owner of what can't be told
LINK = "it is a link"
NOT_TOLD = "whose it is can't be told: put it into a folder with the student's name"
BROKEN: tuple[type[Exception], ...] = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, ValueError)
BROKEN += (NotImplementedError, RuntimeError, MemoryError, OverflowError)


@dataclass(frozen=True)
class Held:
    """A notebook, or what is wrong with a file or a student. `place` is where a person finds it.

    `name` is the notebook's without its suffix and the platform's part; `folders` are those between the owner's and it;
    `origin` is the zip, among the students' folders, that it came in.
    """

    owner: str
    name: str
    path: Path
    place: str
    folders: tuple[str, ...] = ()
    problem: str | None = None
    is_zip: bool = False
    nothing: bool = False  # said only of a student of whom there is nothing else
    origin: str = ""


@dataclass
class _Room:
    """What zips unpack to, and how much that is for each owner."""

    folder: Path
    bytes: dict[str, int] = field(default_factory=dict)
    files: dict[str, int] = field(default_factory=dict)
    number: int = 0

    def take(self, owner: str, size: int) -> bool:
        """Whether one more file of this size is within the owner's limits."""
        self.bytes[owner] = self.bytes.get(owner, 0) + size
        self.files[owner] = self.files.get(owner, 0) + 1
        return self.bytes[owner] <= ZIP_BYTES and self.files[owner] <= ZIP_FILES

    def next(self, name: str) -> Path:
        """A new file, with as much of its own name as is safe."""
        self.number += 1
        self.folder.mkdir(parents=True, exist_ok=True)
        return self.folder / f"{self.number}-{student_id(PurePosixPath(name).name)}"


@dataclass(frozen=True)
class _Entry:
    """A file in a folder or a zip, by the parts of its path there; `problem` is why it can't be had."""

    parts: tuple[str, ...]
    place: str
    path: Path | None = None
    problem: str | None = None
    is_folder: bool = False


@dataclass(frozen=True)
class _Class:
    """What holds the work of several students: the source, or a zip beside their folders.

    Attributes:
        layers: names, in lower case, of folders that stand for exercises and not for students.
        wrapper: the name of a folder that may hold all the others.
        alone: who owns a notebook that lies in no folder.
        deep: how many zips it lies in.
        origin: its place, for a zip.
    """

    layers: frozenset[str]
    wrapper: str = ""
    alone: str = UNKNOWN
    deep: int = 0
    origin: str = ""


def held(source: Path, unpacked: Path, layers: Iterable[str]) -> Iterator[Held]:
    """Every notebook in a folder or zip with its owner, and a `problem` for each that can't be had.

    Args:
        source: the folder or zip.
        unpacked: a folder for the notebooks that zips hold.
        layers: names of folders that stand for exercises and not for students.

    Raises:
        CourseError: the zip can't be opened, or nothing in it can be had.
    """
    room, outermost = _Room(unpacked), _Class(frozenset(name.casefold() for name in layers))
    if source.is_dir():
        yield from _of_class(list(_walked(source)), room, outermost)
        return
    outermost = replace(outermost, wrapper=source.stem, deep=1)
    entries = list(_members(source, room, "", outermost))
    refused = [entry.problem for entry in entries if entry.problem]
    if refused and not any(entry.path for entry in entries):
        raise CourseError(f"{source.name}: {refused[0]}.")
    yield from _of_class(entries, room, outermost)


def _walked(source: Path) -> Iterator[_Entry]:
    for path in sorted(source.rglob("*")):
        parts = path.relative_to(source).parts
        place = whole("/".join(parts))
        if path.is_symlink():
            yield _Entry(parts, place, problem=f"{LINK}, not a file", is_folder=path.is_dir())
        elif path.is_dir():
            yield _Entry(parts, place, is_folder=True)
        elif path.is_file():
            yield _Entry(parts, place, path)
        else:
            yield _Entry(parts, place, problem="it is no file that can be read")


def _of_class(entries: list[_Entry], room: _Room, of: _Class) -> Iterator[Held]:
    """What a whole class handed in, student by student."""
    students: dict[str, list[_Entry]] = {}
    for entry in _unwrapped([e for e in entries if not IGNORED & set(e.parts[:1])], of):
        owner, rest = _owner(entry, of)
        name = entry.parts[-1]
        if owner is not None:
            students.setdefault(owner, []).append(replace(entry, parts=rest))
        elif _is_zip(name):
            yield from _platforms_zip(entry, room, of)
        elif SUFFIX.search(name) and not name.startswith("._"):
            told = entry.problem or (None if of.alone else NOT_TOLD)
            path = entry.path or Path(entry.place)
            yield Held(of.alone, SUFFIX.sub("", name), path, entry.place, problem=told, origin=of.origin)
    for owner, theirs in students.items():
        for file in _of_student(owner, theirs, room, of.deep):
            yield replace(file, origin=of.origin)
        yield _nothing(owner, theirs)


def _nothing(owner: str, entries: Iterable[_Entry]) -> Held:
    """What is said of a student if there is nothing else."""
    first, *_ = entries
    place = first.place[: len(first.place) - len(whole("/".join(first.parts)))].rstrip("/") or first.place
    only = sorted({e.parts[-1] for e in entries if e.parts and e.parts[-1] and not e.is_folder})
    told = "there is no notebook in it" + (f", only {plain(', '.join(only[:3]))}" if only else "")
    if any(entry.problem and not entry.parts for entry in entries):
        told = f"{LINK}, not a folder"
    return Held(owner, "", Path(place), place, problem=told, nothing=True)


def _unwrapped(entries: list[_Entry], of: _Class) -> list[_Entry]:
    """Without nbgrader's folder `submitted`, the folder that a zip was made of, or one that holds what Moodle names."""
    tops = {entry.parts[0] for entry in entries if not entry.parts[0].startswith(".")}
    inside = {entry.parts[1] for entry in entries if len(entry.parts) > 1}
    if len(tops) != 1 or not inside:
        return entries
    (top,) = tops
    if top not in ("submitted", of.wrapper) and not all(MOODLE.fullmatch(name) for name in inside):
        return entries
    return [replace(entry, parts=entry.parts[1:]) for entry in entries if len(entry.parts) > 1]


def _owner(entry: _Entry, of: _Class) -> tuple[str | None, tuple[str, ...]]:
    """Whose an entry is by its outermost name, and its path from there; None for what bears no name."""
    parts = entry.parts
    while len(parts) > 1 and parts[0].casefold() in of.layers:
        parts = parts[1:]
    first, rest = parts[0], parts[1:]
    if match := MOODLE.fullmatch(first):
        return match["student"], rest or (() if entry.is_folder else (match["file"],))
    if rest or (entry.is_folder and first.casefold() not in of.layers):
        return first, rest
    if match := CANVAS.fullmatch(first):
        return f"{match['student']}_{match['number']}", (match["file"],)
    return None, parts


def _of_student(owner: str, entries: Iterable[_Entry], room: _Room, deep: int) -> Iterator[Held]:
    """The notebooks of one student, those in zips too."""
    for entry in entries:
        if not entry.parts or entry.is_folder or IGNORED & set(entry.parts) or entry.parts[-1].startswith("._"):
            continue
        *folders, name = entry.parts
        path = entry.path or Path(entry.place)
        if SUFFIX.search(name):
            yield Held(owner, SUFFIX.sub("", name), path, entry.place, tuple(folders), entry.problem)
        elif _is_zip(name):
            yield from _students_zip(owner, entry, path, room, deep)


def _students_zip(owner: str, entry: _Entry, path: Path, room: _Room, deep: int) -> Iterator[Held]:
    problem = entry.problem
    if not problem and deep >= ZIPS_DEEP:
        problem = f"it lies in {deep} zips, which is too deep: hand in the notebook itself"
    if not problem:
        try:
            members = _members(path, room, f"{entry.place}/", owner)
            yield from list(_of_student(owner, members, room, deep + 1))
        except CourseError as error:
            problem = str(error).rstrip(".")
    bare = Held(owner, entry.parts[-1], path, entry.place, problem=problem, is_zip=True)
    yield bare if problem else replace(bare, problem="there is no notebook in it", nothing=True)


def _platforms_zip(entry: _Entry, room: _Room, of: _Class) -> Iterator[Held]:
    """A zip beside the students' folders: of a platform's layout; what that leaves without a name is the zip's own."""
    name, path = entry.parts[-1], entry.path or Path(entry.place)
    alone, problem = name[: -len(".zip")], entry.problem
    if not problem and of.deep >= ZIPS_DEEP:
        problem = f"it lies in {of.deep} zips, which is too deep: unpack it"
    if not problem:
        inner = _Class(of.layers, alone=alone, deep=of.deep + 1, origin=entry.place)
        try:
            found = list(_of_class(list(_members(path, room, f"{entry.place}/", inner)), room, inner))
            yield from found
            if not found:
                yield Held(alone, name, path, entry.place, problem="there is no notebook in it", nothing=True)
        except CourseError as error:
            problem = str(error).rstrip(".")
    if problem:
        yield Held(alone, name, path, entry.place, problem=problem, is_zip=True)


def _is_zip(name: str) -> bool:
    return name.lower().endswith(".zip")


def _members(path: Path, room: _Room, before: str, of: _Class | str) -> Iterator[_Entry]:
    """The notebooks and zips in a zip, each read into a file; others by name alone.

    Args:
        path: the zip.
        room: where the files go.
        before: the place of the zip.
        of: the student whose zip it is, and whose limits count; or the class, in which each student has their own.

    Raises:
        CourseError: it can't be opened, or a member lies outside.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = [(member, PurePosixPath(member.filename.replace("\\", "/"))) for member in archive.infolist()]
            for member, inside in members:
                if inside.is_absolute() or ".." in inside.parts or ":" in member.filename[:3]:
                    name = before.rstrip("/") or path.name
                    raise CourseError(f"{name} holds {member.filename!r}, which lies outside; it isn't unpacked.")
            for member, inside in members:
                if inside.parts:
                    entry = _Entry(inside.parts, f"{before}{whole(str(inside))}", is_folder=member.is_dir())
                    owner = of if isinstance(of, str) else _owner(entry, of)[0] or of.alone
                    had = _had(entry, archive, member, room, owner)
                    if had.problem == TOO_MUCH and isinstance(of, str):
                        raise CourseError(f"{TOO_MUCH}.")
                    yield had
    except BROKEN as error:
        if isinstance(error, CourseError):
            raise
        raise CourseError(f"it can't be unpacked: {_reason(error)}.") from None


def _had(entry: _Entry, archive: zipfile.ZipFile, member: zipfile.ZipInfo, room: _Room, owner: str) -> _Entry:
    """A member's entry with its file, which is written where it is a notebook or a zip, or with a problem."""
    name = entry.parts[-1]
    if entry.is_folder or not (SUFFIX.search(name) or _is_zip(name)):
        return entry
    if stat.S_ISLNK(member.external_attr >> 16):
        return replace(entry, problem=f"{LINK}, not a file")
    if member.file_size > RAW_BYTES:
        told = f"the file has {member.file_size / 1e6:.0f} MB, and {RAW_BYTES / 1e6:.0f} MB is the limit"
        return replace(entry, problem=told)
    if not room.take(owner, member.file_size):
        return replace(entry, problem=TOO_MUCH)
    target = room.next(name)
    try:
        with archive.open(member) as packed, target.open("wb") as file:
            file.write(packed.read(RAW_BYTES))
    except BROKEN as error:
        return replace(entry, problem=f"it can't be unpacked: {_reason(error)}")
    return replace(entry, path=target)


def _reason(error: BaseException) -> str:
    """Why a zip can't be unpacked, in words."""
    if "encrypted" in str(error):
        return "it is encrypted; hand it in without a password"
    text = " ".join(str(error).split()) or type(error).__name__
    return whole(text)[:200].rstrip(".")


def plain(text: str) -> str:
    """A name as a sentence may hold it: whole characters, in one line, not too long."""
    return " ".join(whole(text).split())[:80]


def student_id(name: str) -> str:
    """A name that is safe as a folder's."""
    name = unicodedata.normalize("NFC", name).strip()
    return re.sub(r"[^\w.@+=,' -]", "_", name)[:80].strip(" .")
