"""The small module behind the course's notebooks: load models, judge them, show what came out.

`load` is the door most lessons go through; the rest is imported by module: `from helpers import data`.
"""

from helpers.models import load, weights

__all__ = ["load", "weights"]
