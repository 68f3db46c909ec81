"""The one error that users are meant to see."""

from __future__ import annotations


class InputError(ValueError):
    """The input can't be used; the message names the value and says what to do about it."""
