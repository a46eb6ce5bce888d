"""The exceptions that the course raises on purpose, each a sentence for the person at the keyboard."""

from difflib import get_close_matches


class CourseError(ValueError):
    """What was wrong, where, and the mend, in one sentence.

    In a notebook it shows as that sentence, without the stack of calls that led to it.
    """

    def _render_traceback_(self) -> list[str]:
        """IPython's hook for exceptions that format themselves."""
        return [f"{type(self).__name__}: {self}"]


class OutOfReachError(CourseError):
    """Weights that can't be had: no hub, or a hub that refuses them, as it does a gated model without a login."""


def nearest(name: str, names: list[str]) -> str:
    """' Did you mean a, b or c?' for the at most three names that look most like `name`; '' if none does."""
    lower = {known.lower(): known for known in names}
    close = get_close_matches(name.strip().lower().split("/")[-1], lower, n=3, cutoff=0.5)
    if not close:
        return ""
    *most, last = (lower[match] for match in close)
    return f" Did you mean {', '.join(most) + ' or ' if most else ''}{last}?"
