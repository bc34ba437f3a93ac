"""Where an error was raised, for the log of whoever writes a producer: files, lines and functions, never a value."""

from __future__ import annotations

import traceback

_MOST = 20  # the innermost: they lead to the fault


def frames_of(error: BaseException) -> tuple[str, ...]:
    """Each "file:line in function", the innermost last; the frame that asked, which is the relay's own, is left out.

    An error that was raised from another one comes after it. No text of an error: that may quote a content.
    """
    chain: list[BaseException] = []
    each: BaseException | None = error
    while each is not None and each not in chain:
        chain.append(each)
        each = each.__cause__ or (None if each.__suppress_context__ else each.__context__)
    places = [
        f"{frame.f_code.co_filename}:{line} in {frame.f_code.co_name}"
        for link in reversed(chain)
        for position, (frame, line) in enumerate(traceback.walk_tb(link.__traceback__))
        if position or link is not error
    ]
    return tuple(places[-_MOST:])
