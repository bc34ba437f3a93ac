"""``relay retry`` and ``relay discard``: what becomes of messages that failed or wait for a person.

Messages are chosen by id, or by filters. What filters find is counted first and, if it is more than one message, has to
be confirmed; then exactly those are changed, and what somebody or something has changed meanwhile is left alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from relay.cli.acting import (
    F,
    confirm,
    ledger_options,
    message_id,
    ordered,
    tell_changed,
    tell_preview,
)
from relay.cli.options import duration, json_option, verb_in_use
from relay.cli.options import rate as a_rate

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from relay.operators.actions import Changed, Verb
    from relay.operators.ledger import Order

_NO_FILTER = ("limit",)  # narrows what others have chosen


def _selecting(*statuses: str) -> Callable[[F], F]:
    """Ids, or filters on what is not done."""
    options = (
        click.argument("ids", metavar="[ID]...", nargs=-1, type=message_id),
        click.option("--status", type=click.Choice(statuses), help="Only these; held waits for a person."),
        click.option("--error", "error_code", metavar="CODE", help="The code of the last outcome."),
        click.option("--topic"),
        click.option("--account"),
        click.option("--key", "ordering_key", help="The ordering key."),
        click.option("--since", type=duration, help="Inserted no longer ago than this, for example 2h."),
        click.option("--until", type=duration, help="Inserted at least this long ago."),
        click.option("--limit", type=click.IntRange(min=1), help="Only the oldest N of them.", metavar="N"),
        click.option("--yes", is_flag=True, help="Do not ask; needed where nobody can be asked."),
    )

    def add(verb: F) -> F:
        for option in reversed(options):
            verb = option(verb)
        return verb

    return add


@click.command()
@_selecting("failed", "held")
@click.option("--rate", type=a_rate, metavar="N", help="N messages a second instead of all at once.")
@ledger_options
@json_option
def retry(rate: float | None, **chosen: Any) -> None:
    """Send failed and held messages again.

    Their attempts are counted from 0 again. A message with an ordering key may then come after later ones of its key.
    Discarded messages are chosen by id or by --error relay.discarded only.
    """

    def act(connection: Connection, ids: Sequence[int], order: Order, versions: Sequence[int] | None) -> Changed:
        from relay.operators import actions

        return actions.retry(connection, ids, order, per_second=rate, versions=versions)

    _operate("retry", act, "made pending again", {"rate": rate}, **chosen)


@click.command()
@_selecting("failed", "held", "pending")
@ledger_options
@json_option
def discard(**chosen: Any) -> None:
    """Close messages that must not be sent, with a reason.

    They end as failed with relay.discarded. This is also how to close a held message that the platform turned out to
    have. What is in flight cannot be discarded.
    """

    def act(connection: Connection, ids: Sequence[int], order: Order, versions: Sequence[int] | None) -> Changed:
        from relay.operators import actions

        return actions.discard(connection, ids, order, versions=versions)

    _operate("discard", act, "discarded", {}, **chosen)


def _operate(
    verb: Verb,
    act: Callable[[Connection, Sequence[int], Order, Sequence[int] | None], Changed],
    done: str,
    manner: dict[str, object],
    *,
    ids: tuple[int, ...],
    reason: str | None,
    actor: str | None,
    dry_run: bool,
    yes: bool,
    as_json: bool,
    **filters: Any,
) -> None:
    from relay.assembly.database import opened
    from relay.operators import actions
    from relay.settings import FOR_TABLES, load_for

    _require_choice(ids, filters)
    selection = {"ids": ids} if ids else filters
    order = ordered(reason, actor, dry_run, {**selection, **manner})
    settings = load_for(FOR_TABLES)
    with opened(settings, who=verb_in_use()) as database, database.operating() as engine:
        with engine.connect() as connection:
            found = ids or actions.find(connection, actions.ActionFilter(**filters), verb=verb)
            expected = actions.preview(connection, verb, found)
        if dry_run:
            tell_preview(expected, as_json=as_json)
            return
        if not ids and not yes:
            confirm(verb, len(expected.changing), "message")
        named, versions = (ids, None) if ids else (expected.changing, expected.versions)
        with engine.begin() as connection:
            result = act(connection, named, order, versions)
    if not ids:
        result = replace(result, skipped=dict(sorted({**expected.skipped, **result.skipped}.items())))
    tell_changed(result, as_json=as_json, done=done)


def _require_choice(ids: tuple[int, ...], filters: dict[str, object]) -> None:
    given = [name for name, value in filters.items() if value is not None]
    if ids and given:
        raise click.UsageError("ids and filters exclude each other")
    if not ids and not set(given).difference(_NO_FILTER):
        raise click.UsageError("which messages? Give ids, or a filter such as --status failed")
