"""Choose a model from the catalogue by rules that need no opinion; figures are `plots`'s."""

from helpers.choosing.rules import LEAD, SPEED, Choice, Needs, asked, choose, score, steps, tree, weights_mb, zero_shot

__all__ = ["LEAD", "SPEED", "Choice", "Needs", "asked", "choose", "score", "steps", "tree", "weights_mb", "zero_shot"]
