"""The error for input that can't be used."""

from __future__ import annotations


class InputError(ValueError):
    """The input can't be used; the message names the value and a remedy."""

    def _render_traceback_(self) -> list[str]:
        """What IPython shows in place of a traceback: the message."""
        return [str(self)]
