"""Start a submission's process where it can do no harm: bubblewrap's namespaces, resource limits, a system call filter.

Inside there are Python, its packages, `inside/` and a copy of `helpers` without the exercises' references; nothing else
of this machine, no network, no second process. The one way out is the socket to the grader. All of it lies under names
that say nothing of the machine, and there is no /proc but the four files that libraries ask for memory and processors:
that of a process tells the paths of what is mounted.
"""

import os
import platform
import resource
import shutil
import socket
import struct
import subprocess
import sys
import sysconfig
import tempfile
from dataclasses import dataclass
from pathlib import Path

import helpers
from helpers.errors import CourseError

INSIDE = Path(__file__).parent / "inside"
PYTHON, PACKAGES, COMPILED = "/python", "/packages", "/packages64"  # where they lie in the sandbox
KEPT_ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "HOME": "/tmp",
    "LANG": "C.UTF-8",
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",
    "OMP_NUM_THREADS": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONHASHSEED": "0",
    "TOKENIZERS_PARALLELISM": "false",
    "USER": "learner",
}
# What no exercise needs and a hostile one could use: names are Linux's, numbers differ by machine.
REFUSED = {
    "x86_64": (101, 165, 248, 249, 250, 272, 298, 308, 310, 319, 321, 323, 425, 29),
    "aarch64": (117, 40, 217, 218, 219, 97, 241, 268, 270, 279, 280, 282, 425, 194),
}  # ptrace, mount, add_key, request_key, keyctl, unshare, perf_event_open, setns, process_vm_readv, memfd_create, bpf,
# userfaultfd, io_uring_setup, shmget
FORK = {"x86_64": (57, 58), "aarch64": ()}
CLONE, CLONE3 = {"x86_64": 56, "aarch64": 220}, 435
SOCKET, SOCKETPAIR = {"x86_64": 41, "aarch64": 198}, {"x86_64": 53, "aarch64": 199}
FAMILIES = (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6)  # not VSOCK, which knows no namespaces, nor NETLINK
ARCHITECTURE = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}


@dataclass(frozen=True)
class Limits:
    """What a submission may use. Memory is address space, of which torch maps far more than it fills."""

    memory_mb: int = 6000
    disk_mb: int = 64  # of its private /tmp, and of one file
    cell_s: float = 60
    call_s: float = 60
    wall_s: float = 300


@dataclass(frozen=True)
class Rooms:
    """The folders that a submission sees: a copy of `helpers` without references, and models that cases hold."""

    helpers: Path
    models: Path


def furnish(folder: Path) -> Rooms:
    """Make the folders that submissions see, in `folder`."""
    rooms = Rooms(folder / "course", folder / "models")
    source = Path(helpers.__file__).parent
    shutil.copytree(
        source, rooms.helpers / "helpers", ignore=shutil.ignore_patterns("exercises", "checks", "__pycache__")
    )
    shutil.copy(INSIDE / "checks.py", rooms.helpers / "helpers" / "checks.py")
    rooms.models.mkdir()
    return rooms


def trouble() -> str | None:
    """Why there can be no sandbox here, and the mend; None where there can."""
    if platform.machine() not in ARCHITECTURE:
        return f"the filter of system calls is written for {' and '.join(ARCHITECTURE)}, not {platform.machine()}"
    if not shutil.which("bwrap"):
        return (
            "there is no bubblewrap: `apt-get install bubblewrap` (Linux; elsewhere use a Linux machine or container)"
        )
    tried = subprocess.run(
        ["bwrap", "--unshare-all", "--ro-bind", "/", "/", "true"],
        capture_output=True,
        text=True,
        check=False,
    )
    if tried.returncode:
        return (
            f"bubblewrap can't run ({tried.stderr.strip()[:200]}): allow unprivileged user namespaces "
            "(`sysctl kernel.apparmor_restrict_unprivileged_userns=0` on Ubuntu; `--privileged` for a container)"
        )
    return None


def start(limits: Limits, rooms: Rooms, *, unsafe: bool = False) -> tuple[subprocess.Popen[bytes], socket.socket]:
    """Start the probe; returns its process and the grader's end of the socket.

    Raises:
        CourseError: there can be no sandbox here, and `unsafe` isn't asked for.
    """
    ours, theirs = socket.socketpair()
    with theirs, tempfile.TemporaryFile() as rules:
        rules.write(b"" if unsafe else call_filter(platform.machine()))
        rules.seek(0)
        command = [sys.executable, "-s", "-B", str(INSIDE / "probe.py"), str(theirs.fileno()), str(rooms.models)]
        environment = KEPT_ENVIRONMENT | {"PATH": os.defpath, "PYTHONPATH": str(rooms.helpers)}
        if not unsafe:
            python = [*_bubblewrap(limits, rooms, rules.fileno()), _python(), "-s", "-S", "-B"]
            command = [*python, "/course/inside/probe.py", str(theirs.fileno()), "/course/models"]
            environment |= {"PYTHONPATH": f"/course:{PACKAGES}:{COMPILED}"}
            environment |= {"LD_LIBRARY_PATH": f"{PYTHON}/lib"} if _python().startswith(PYTHON) else {}
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=environment,
                pass_fds=(theirs.fileno(), rules.fileno()),
                preexec_fn=lambda: _limit(limits),  # noqa: PLW1509, a judge's process has one thread
                start_new_session=True,
                cwd=tempfile.gettempdir(),
            )
        except FileNotFoundError:
            raise CourseError(f"Submissions can't run in a sandbox: {trouble()}.") from None
    return process, ours


def _bubblewrap(limits: Limits, rooms: Rooms, rules: int) -> list[str]:
    """The sandbox's command line, up to what runs in it."""
    size = str(limits.disk_mb * 1_000_000)
    words = ["bwrap", "--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL"]
    words += ["--uid", "1000", "--gid", "1000", "--hostname", "sandbox"]
    words += ["--size", size, "--tmpfs", "/tmp"]  # first, as Python itself may lie in the real one
    for path in ("/usr", "/bin", "/sbin", "/lib", "/lib64"):
        words += ["--symlink", os.readlink(path), path] if Path(path).is_symlink() else ["--ro-bind-try", path, path]
    for path in ("/etc/ld.so.cache", "/etc/alternatives", "/etc/localtime"):
        words += ["--ro-bind-try", path, path]
    if _python().startswith(PYTHON):
        words += ["--ro-bind", os.path.realpath(sys.base_prefix), PYTHON]
    words += ["--ro-bind", packages := sysconfig.get_path("purelib"), PACKAGES]
    words += ["--ro-bind", sysconfig.get_path("platlib"), COMPILED]  # Fedora's lib64; elsewhere the same folder
    installed = Path(helpers.__file__).parent / "exercises"
    if installed.is_relative_to(packages):  # a copy that pip put among the packages holds the references
        for place in (PACKAGES, COMPILED):
            words += ["--tmpfs", f"{place}/{installed.relative_to(packages)}"]
    for path in ("cpuinfo", "meminfo", "stat", "filesystems"):
        words += ["--ro-bind-try", f"/proc/{path}", f"/proc/{path}"]
    words += ["--dev", "/dev", "--size", size, "--tmpfs", "/dev/shm", "--remount-ro", "/dev", "--chdir", "/tmp"]
    for source, place in ((rooms.helpers / "helpers", "helpers"), (INSIDE, "inside"), (rooms.models, "models")):
        words += ["--ro-bind", str(source), f"/course/{place}"]
    return [*words, "--remount-ro", "/", "--seccomp", str(rules), "--"]


def _python() -> str:
    """Python's path in the sandbox: that of this machine if it lies in /usr, which holds nobody's name."""
    real = Path(os.path.realpath(sys.executable))
    base = Path(os.path.realpath(sys.base_prefix))
    return str(real) if base.is_relative_to("/usr") else f"{PYTHON}/{real.relative_to(base)}"


def _limit(limits: Limits) -> None:
    """In the child, before anything of the submission runs."""
    seconds = int(limits.wall_s) + 1
    for what, most in (
        (resource.RLIMIT_AS, limits.memory_mb * 1_000_000),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_FSIZE, limits.disk_mb * 1_000_000),
        (resource.RLIMIT_NOFILE, 256),
    ):
        resource.setrlimit(what, (most, most))


def call_filter(machine: str) -> bytes:
    """The filter of system calls, as Linux's BPF: threads may start, processes may not; a few calls are refused.

    `RLIMIT_NPROC` wouldn't do: it counts all of a user's processes, and none of root's.
    """
    load, jump_equal, jump_above, jump_bits, give = 0x20, 0x15, 0x35, 0x45, 0x06
    allow, refuse, again, unknown = 0x7FFF0000, 0x00050001, 0x0005000B, 0x00050026  # EPERM, EAGAIN, ENOSYS

    def unless(jump: int, value: int, given: int) -> list[tuple[int, int, int, int]]:
        return [(jump, 0, 1, value), (give, 0, 0, given)]

    program = [(load, 0, 0, 4), (jump_equal, 1, 0, ARCHITECTURE[machine]), (give, 0, 0, refuse), (load, 0, 0, 0)]
    program += unless(jump_above, 0x40000000, refuse) if machine == "x86_64" else []  # the x32 calls
    program += unless(jump_equal, CLONE3, unknown)  # its flags are out of a filter's sight; C libraries take clone
    for number in FORK[machine]:
        program += unless(jump_equal, number, again)
    for number in REFUSED[machine]:
        program += unless(jump_equal, number, refuse)
    for number in (SOCKET[machine], SOCKETPAIR[machine]):
        known = [(jump_equal, len(FAMILIES) - i, 0, family) for i, family in enumerate(FAMILIES)]
        program += [(jump_equal, 0, len(known) + 3, number), (load, 0, 0, 16), *known]
        program += [(give, 0, 0, refuse), (load, 0, 0, 0)]
    program += [(jump_equal, 0, 3, CLONE[machine]), (load, 0, 0, 16), (jump_bits, 1, 0, 0x10000), (give, 0, 0, again)]
    program += [(give, 0, 0, allow)]
    return b"".join(struct.pack("=HBBI", *step) for step in program)
