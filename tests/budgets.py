"""A pytest plugin: what each notebook that nbval runs costs, held against course.toml.

`python -m pytest -p tests.budgets --nbval-lax notebooks` ends with a table of seconds, CPU seconds and peak
memory of each kernel, and fails where a lesson takes more than it declares, within a wide margin. Seconds are
those of the clock, with whatever else the machine was doing; what a lesson is held to is the CPU time of its kernel
and of the processes that it starts.
Other systems than Linux have no peak of a running process: there, memory is the last one seen.
"""

import contextlib
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests import ROOT

CPU_TIMES = ("user", "system", "children_user", "children_system")  # of children that have ended and were waited for
CPU_MARGIN, MEMORY_MARGIN = 3, 1.25  # other machines are slower, and others run on them


def used(pid: int) -> tuple[float, float]:
    """CPU seconds so far of a process and all it has started, and its own peak memory (MB)."""
    process = psutil.Process(pid)
    cpu_s = 0.0
    for each in [process, *process.children(recursive=True)]:
        with contextlib.suppress(psutil.NoSuchProcess):
            cpu_s += sum(getattr(each.cpu_times(), name, 0.0) for name in CPU_TIMES)
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
        peak_mb = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) / 1000
    except OSError:
        peak_mb = process.memory_info().rss / 1e6
    return cpu_s, peak_mb


def exceeded(name: str, cpu_s: float, peak_mb: float, lesson: dict[str, Any]) -> list[str]:
    """What a lesson took more of than it declares; empty where all is well."""
    wrong = []
    if cpu_s > CPU_MARGIN * lesson["cpu_s"]:
        wrong.append(f"{name} took {cpu_s:.0f} s of CPU, course.toml declares {lesson['cpu_s']}")
    if peak_mb > MEMORY_MARGIN * lesson["memory_mb"]:
        wrong.append(f"{name} took {peak_mb:.0f} MB, course.toml declares {lesson['memory_mb']}")
    return wrong


class Budgets:
    """Collects each kernel's use over all workers, and reports it at the end."""

    def __init__(self) -> None:
        lessons = tomllib.loads((ROOT / "course.toml").read_text(encoding="utf-8"))["lesson"]
        self.declared = {f"notebooks/{lesson['name']}.ipynb": lesson for lesson in lessons}
        self.used: dict[str, tuple[float, float]] = {}
        self.seconds: dict[str, float] = {}

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """The longest lessons first, so that none is left to one worker at the end; some are for the night."""
        items.sort(key=lambda item: -self.declared.get(item.nodeid.split("::")[0], {"cpu_s": 0})["cpu_s"])
        for item in items:
            if self.declared.get(item.nodeid.split("::")[0], {}).get("nightly"):
                item.add_marker("execution")

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: Any) -> Iterator[None]:
        kernel = getattr(item.parent, "kernel", None)
        if call.when == "call" and kernel is not None and kernel.is_alive():
            item.user_properties.append(("kernel", used(kernel.km.provisioner.pid)))
        return (yield)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        notebook = report.nodeid.split("::")[0]
        self.seconds[notebook] = self.seconds.get(notebook, 0) + report.duration
        for name, value in report.user_properties:
            if name == "kernel":
                cpu_s, peak_mb = map(float, value)  # type: ignore[call-overload]
                before, _ = self.used.get(notebook, (0.0, 0.0))
                self.used[notebook] = max(before, cpu_s), peak_mb  # processes that were killed count no more

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if not hasattr(session.config, "workerinput") and self.wrong() and session.exitstatus == 0:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def wrong(self) -> list[str]:
        return [
            w
            for name, use in self.used.items()
            if name in self.declared
            for w in exceeded(name, *use, self.declared[name])
        ]

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        terminalreporter.section("seconds, CPU seconds and peak memory")
        for name, (cpu_s, peak_mb) in sorted(self.used.items()):
            lesson = self.declared.get(name)
            limits = f"  of {lesson['cpu_s']:4d} s CPU, {lesson['memory_mb']:5d} MB declared" if lesson else ""
            terminalreporter.line(f"{name:60} {self.seconds[name]:6.1f} s {cpu_s:6.1f} s CPU {peak_mb:7.0f} MB{limits}")
        for line in self.wrong():
            terminalreporter.line(f"FAILED {line}", red=True)


def pytest_configure(config: pytest.Config) -> None:
    config.option.loadscopereorder = False  # pytest-xdist would sort by the number of cells
    config.pluginmanager.register(Budgets(), "budgets")
