"""In which mood a claim looks, and where it begins: frozen values that are decided before any row is locked.

The moods, and how one leads to another, are drawn in ``docs/claim.md``.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

FEW_ACCOUNTS = 8


@dataclass(frozen=True, slots=True)
class Everywhere:
    """Every account in turn, every ordering key, every row.

    ``in_vain``: in this round another worker had some of what was locked.
    """

    in_vain: bool = False


@dataclass(frozen=True, slots=True)
class Unlocked:
    """Every account in turn, but no row without a key that was ever locked: other workers are at those.

    ``until``: monotonic seconds; it goes on to the end of the round after that.
    """

    until: float


Rows: TypeAlias = Everywhere | Unlocked


@dataclass(frozen=True, slots=True)
class Listed:
    """The accounts on the roster alone, with all their keys: of most others nothing may be sent."""

    accounts: Sequence[str]
    rows: Rows


@dataclass(slots=True)
class Place:
    """What is known of one account.

    ``floor``: the last message claimed, as (``available_at`` in microseconds since 1970, id); None: look from the
    start. ``heads``: ordering key → from which id on messages of it may be pending; 0: look from the start.
    """

    floor: tuple[int, int] | None = None
    heads: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Known:
    """Known accounts and keys alone, each from its place: stepping would walk over what is finished.

    ``cursors``: the last key of an account that has more keys than are looked at.
    """

    places: Mapping[str, Place]
    heads: Sequence[tuple[str, str, int]]
    cursors: Mapping[str, str]


Mood: TypeAlias = Everywhere | Unlocked | Listed | Known


@dataclass(frozen=True, slots=True)
class Turn:
    """Where the last claim stopped: after which account, and after which ordering key of accounts with many keys.

    ``accounts``: how many the next claim looks at; ``fruitless``: claims in a row that found nothing; ``rows``: which
    rows the next claim of this kind looks at.
    """

    after_account: str = ""
    keys: Mapping[str, str] = field(default_factory=dict)
    accounts: int = FEW_ACCOUNTS
    fruitless: int = 0
    rows: Rows = Everywhere()


@dataclass(frozen=True, slots=True)
class Look:
    """What one claim looks at: in which mood, and from where on.

    ``mixed``: accounts that had plenty both with and without an ordering key two claims in a row.
    """

    mood: Mood
    turn: Turn
    mixed: Collection[str] = ()

    @property
    def passes_over(self) -> bool:
        """Whether rows are left out that were ever locked."""
        match self.mood:
            case Unlocked() | Listed(rows=Unlocked()):
                return True
            case _:
                return False

    @property
    def goes_everywhere(self) -> bool:
        """Whether every account has its turn."""
        return isinstance(self.mood, Everywhere | Unlocked)

    @property
    def first_pending(self) -> Mapping[tuple[str, str], int]:
        """(account, ordering key) → the id before which nothing of it is pending, as far as that is known."""
        if not isinstance(self.mood, Known):
            return {}
        return {(account, key): id_ for account, key, id_ in self.mood.heads}
