"""What a producer knows of a code that its far end may answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from relay.message import Refused, Result


@dataclass(frozen=True, slots=True)
class Explained:
    """``call`` and ``result`` are what the producer answers for this code: for a whole call, for one index of it.

    What the relay does follows from them. ``known`` is False where only the beginning of the code says anything.
    ``lasts`` and ``lasts_zh`` say how long a pause lasts where the far end names no time ("until midnight in Beijing").
    ``lacks_permission``: the credential is good and another one no cure, a person has to grant a right.
    """

    meaning: str
    ask: str
    meaning_zh: str = ""
    known: bool = True
    call: Refused | None = None
    result: Result | None = None
    lasts: str = ""
    lacks_permission: bool = False
    ask_zh: str = ""
    lasts_zh: str = ""


Explainer = Callable[[str], Explained | None]  # a code, in lower case; None: not one of this producer's
