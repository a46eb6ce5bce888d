"""What a job on several processes or machines costs: measured here, and reckoned for machines that are rented.

`used` measures a block over all the processes it starts. `Job` gives hours and dollars by the number of machines,
from a rate, a start-up and a price; prices are in `catalog.prices()` (see `costs.price`).
"""

import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields

import numpy as np
import psutil

from helpers.errors import CourseError


@dataclass
class Used:
    """What ran inside a `with used()`: this process and all its children, at the end of it.

    `peak_mb` is the largest sum of their memory at one time, on Linux without pages that they may share, such as
    libraries. Children that live less than the interval are missed.
    """

    wall_s: float = 0.0
    cpu_s: float = 0.0
    peak_mb: float = 0.0
    processes: int = 1


@contextmanager
def used(interval_s: float = 0.2) -> Iterator[Used]:
    """Measure time, CPU seconds and memory of the block over all processes it starts."""
    measured, me, stop = Used(), psutil.Process(), threading.Event()
    before: dict[int, float] = {}
    after: dict[int, float] = {}

    def look(times: dict[int, float]) -> None:
        total_mb, count = 0.0, 0
        for process in [me, *me.children(recursive=True)]:
            try:
                cpu, memory = process.cpu_times(), process.memory_info()
            except psutil.Error:
                continue
            times[process.pid] = cpu.user + cpu.system
            total_mb += (memory.rss - getattr(memory, "shared", 0)) / 1e6
            count += 1
        measured.peak_mb, measured.processes = max(measured.peak_mb, total_mb), max(measured.processes, count)

    def watch() -> None:
        while not stop.wait(interval_s):
            look(after)

    look(before)
    begin = time.perf_counter()
    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield measured
    finally:
        measured.wall_s = time.perf_counter() - begin
        stop.set()
        watcher.join()
        look(after)
        measured.cpu_s = sum(seconds - before.get(pid, 0.0) for pid, seconds in after.items())


@dataclass(frozen=True)
class Job:
    """A corpus to embed on equal machines, each rented from its start to the end of the job.

    Every machine first spends `startup_s` (boot, image, weights, joining the cluster); then the texts are shared out
    evenly. `redone_share` is the work done again, after failures and for machines that were taken away, as a share
    of the whole. `egress_gb` leaves the provider's network once, at `usd_per_gb`.

    Raises:
        CourseError: a number is out of its range.
    """

    texts: float
    texts_per_s: float
    usd_per_hour: float
    startup_s: float = 0.0
    redone_share: float = 0.0
    egress_gb: float = 0.0
    usd_per_gb: float = 0.0

    def __post_init__(self) -> None:
        for f in fields(self):
            value = getattr(self, f.name)
            if isinstance(value, bool) or not math.isfinite(value) or value < 0:
                raise CourseError(f"{f.name} must be a finite number of 0 or more, but it is {value!r}.")
        if self.texts_per_s == 0:
            raise CourseError("texts_per_s is 0: such a machine never ends; measure its rate.")

    def hours(self, machines: int) -> float:
        """Hours from the first boot to the last vector."""
        _whole(machines)
        return (self.startup_s + self._work_s / machines) / 3600

    def usd(self, machines: int) -> float:
        """US dollars: all machines for all those hours, and the egress."""
        return machines * self.hours(machines) * self.usd_per_hour + self.egress_gb * self.usd_per_gb

    def machines_for(self, hours: float) -> int | None:
        """The fewest machines that end within a deadline; None where the start-up alone takes that long."""
        spare_s = hours * 3600 - self.startup_s
        if spare_s <= 0:
            return None
        return max(1, math.ceil(self._work_s / spare_s - 1e-9))

    def pays_from_texts(self, machines: int, alone_startup_s: float) -> float:
        """Texts from which so many machines end sooner than one that starts in `alone_startup_s`; maybe infinite."""
        _whole(machines)
        later_s = self.startup_s - alone_startup_s
        if later_s <= 0:
            return 0.0
        gained_s = (1 + self.redone_share) / self.texts_per_s * (1 - 1 / machines)  # a text
        return later_s / gained_s if gained_s > 0 else math.inf

    @property
    def _work_s(self) -> float:
        """Seconds that one machine would compute."""
        return self.texts * (1 + self.redone_share) / self.texts_per_s


def _whole(machines: int) -> None:
    if machines < 1 or machines != int(machines):
        raise CourseError(f"machines is a whole number of 1 or more, but it is {machines!r}.")


def vectors_gb(texts: float, dimensions: int) -> float:
    """Gigabytes (1e9 bytes) of float32 vectors."""
    return texts * dimensions * np.dtype(np.float32).itemsize / 1e9
