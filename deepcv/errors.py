"""The error for input that can't be used; memory that ran out."""

from __future__ import annotations


class InputError(ValueError):
    """The input can't be used; the message names the value and a remedy."""

    def _render_traceback_(self) -> list[str]:
        """What IPython shows in place of a traceback: the message."""
        return [str(self)]


def out_of_memory(error: BaseException | None) -> bool:
    """Whether memory ran out, in Python, NumPy, OpenCV or torch, which say so in different ways."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return any(words in str(error) for words in ("can't allocate memory", "Insufficient memory"))


TOO_LARGE = "the memory ran out; take a smaller --size, fewer --workers, or a smaller --batch"
