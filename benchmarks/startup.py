"""What a fresh process costs before its first vector, beside importing the library.

    python -m benchmarks.startup

CPU seconds of child processes, in turn, the files in the system's cache after the first round.
"""

import statistics
import subprocess
import sys

import psutil

from helpers.measure import environment

REPEATS = 5
PROGRAMS = {
    "import sentence_transformers": "import sentence_transformers",
    "load and one vector": "from helpers import load; load('all-MiniLM-L6-v2').encode(['a text'])",
    "the same by helpers.encode": "from helpers import encode, load; encode.encode(load('all-MiniLM-L6-v2'), ['a'])",
    "import helpers": "import helpers",
}


def cpu_s(program: str) -> float:
    """User and system seconds of a Python process that runs a program."""
    before = psutil.Process().cpu_times()
    subprocess.run([sys.executable, "-c", program], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    after = psutil.Process().cpu_times()
    return float(after.children_user + after.children_system - before.children_user - before.children_system)


def main() -> None:
    seconds: dict[str, list[float]] = {name: [] for name in PROGRAMS}
    for repeat in range(REPEATS + 1):  # the first warms up
        for name, program in PROGRAMS.items():
            taken = cpu_s(program)
            if repeat:
                seconds[name].append(taken)
    base = seconds["import sentence_transformers"]
    hardware = environment.hardware()
    print(f"{hardware['cpu']}, {' '.join(hardware['cpu_features'])}; {REPEATS} repeats, CPU seconds\n")
    for name, runs in seconds.items():
        ratios = sorted(own / other for own, other in zip(runs, base, strict=True))
        ends = f"{ratios[0]:.2f} to {ratios[-1]:.2f}"
        print(f"{name:30} {statistics.median(runs):6.2f}   {statistics.median(ratios):5.2f} times ({ends})")


if __name__ == "__main__":
    main()
