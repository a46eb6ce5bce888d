"""The tests, a folder a package of `helpers`; what concerns the whole course is in `course/`."""

from pathlib import Path

ROOT = Path(__file__).parent.parent
