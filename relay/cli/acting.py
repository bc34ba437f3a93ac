"""What the operators' verbs share: who, why, a way to look first, and how the result is told.

On stdout go the ids of the messages changed, one a line, so that they can be piped on; on stderr what was left alone
and why. A verb that left anything alone exits with 1.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import click

from relay.cli.printing import print_facts, print_json, say

if TYPE_CHECKING:
    from relay.operators.actions import Changed, Preview
    from relay.operators.archive import Moved
    from relay.operators.ledger import Order
    from relay.operators.retention import Pruned

    Batch = TypeVar("Batch", Moved, Pruned)

F = TypeVar("F", bound=Callable[..., Any])
LARGEST_ID = 2**63 - 1
NOT_ALL = 1
_QUIET_SECONDS = 2.0  # after that, progress is told

message_id = click.IntRange(1, LARGEST_ID)


def ledger_options(verb: F) -> F:
    """``--reason``, ``--actor`` and ``--dry-run``."""
    return ledger_options_with("Required unless --dry-run.")(verb)


def ledger_options_with(when: str) -> Callable[[F], F]:
    """The same, where another sentence says when a reason is required."""

    def options(verb: F) -> F:
        verb = click.option("--dry-run", is_flag=True, help="Tell what would be done, and do nothing.")(verb)
        verb = click.option("--actor", metavar="NAME", help="Who wants it.  [default: user@host]")(verb)
        return click.option("--reason", metavar="TEXT", help=f"Why; kept in the ledger. {when}")(verb)

    return options


def ordered(reason: str | None, actor: str | None, dry_run: bool, selection: Mapping[str, object]) -> Order:
    """What the ledger is to say; without a reason only a dry run goes on."""
    from relay.assembly.people import user_at_host
    from relay.operators.ledger import Order

    if not dry_run and not (reason or "").strip():
        raise click.UsageError("--reason is missing: say why, it is kept in the ledger")
    return Order(actor or user_at_host(), reason or "", {k: _told(v) for k, v in selection.items() if v is not None})


def tell_preview(found: Preview, *, as_json: bool) -> None:
    """Print what a verb would change, for ``--dry-run``."""
    if as_json:
        print_json(
            {
                "dry_run": True,
                "count": len(found.changing),
                "oldest_seconds": found.oldest_seconds,
                "ordering_keys": found.ordering_keys,
                "changing": [str(id_) for id_ in found.changing],
                "skipped": _skipped(found.skipped),
            }
        )
    else:
        oldest = found.oldest_seconds
        print_facts(
            {
                "messages": len(found.changing),
                "oldest": None if oldest is None else timedelta(seconds=oldest),
                "ordering keys": found.ordering_keys,
            }
        )
        say("dry run: nothing was changed", err=True)
    _tell_skipped(found.skipped)


def tell_changed(result: Changed, *, as_json: bool, done: str) -> None:
    """``done`` completes the sentence: 3 messages ..."""
    if as_json:
        print_json(
            {
                "changed": [str(id_) for id_ in result.changed],
                "skipped": _skipped(result.skipped),
                "action": None if result.action is None else str(result.action),
            }
        )
    else:
        for id_ in result.changed:
            say(id_)
    if result.action is not None:
        say(f"{count(len(result.changed), 'message')} {done}; row {result.action} of the ledger", err=True)
    elif not result.skipped:
        say("no message fits: nothing was changed", err=True)
    _tell_skipped(result.skipped)


def summed(batches: Iterable[Batch], nothing: Batch, done: str) -> Batch:
    """All batches together, with a line on stderr now and then; ``done`` begins it: deleted 3 messages ..."""
    total, told = nothing, time.monotonic()
    for one in batches:
        total = total + one
        if time.monotonic() - told > _QUIET_SECONDS:
            told = time.monotonic()
            say(f"{done} {count(total.messages, 'message')} and {count(total.calls, 'call')} so far", err=True)
    return total


def count(number: int, thing: str) -> str:
    """ "1 message", "2,000 messages"."""
    return f"{number:,} {thing}" if number == 1 else f"{number:,} {thing}s"


def confirm(verb: str, number: int, thing: str) -> None:
    """Ask before more than one is changed that nobody has named."""
    if number < 2:
        return
    if not sys.stdin.isatty():
        raise click.UsageError(f"{count(number, thing)} to {verb}: look with --dry-run, then add --yes")
    click.confirm(f"{verb.capitalize()} {count(number, thing)}?", abort=True, err=True)


def _skipped(skipped: Mapping[int, str]) -> Sequence[Mapping[str, str]]:
    return [{"id": str(id_), "why": why} for id_, why in skipped.items()]


def _tell_skipped(skipped: Mapping[int, str]) -> None:
    for id_, why in skipped.items():
        say(f"message {id_} is left alone: {why}", err=True)
    if skipped:
        raise click.exceptions.Exit(NOT_ALL)


def _told(value: object) -> object:
    return f"{value.total_seconds():.0f}s" if isinstance(value, timedelta) else value
