"""The one exception that the course raises on purpose: a sentence for the person at the keyboard."""


class CourseError(ValueError):
    """What was wrong, where, and the mend, in one sentence.

    In a notebook it shows as that sentence, without the stack of calls that led to it.
    """

    def _render_traceback_(self) -> list[str]:
        """IPython's hook for exceptions that format themselves."""
        return [f"{type(self).__name__}: {self}"]


class OutOfReachError(CourseError):
    """Weights that can't be had: no hub, or a hub that refuses them, as it does a gated model without a login."""
