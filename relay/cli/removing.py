"""``relay redact`` and ``relay prune``: what leaves the tables for good."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import click

from relay.cli.acting import (
    ledger_options,
    ledger_options_with,
    message_id,
    ordered,
    summed,
    tell_changed,
    tell_preview,
)
from relay.cli.options import duration, json_option, verb_in_use
from relay.cli.printing import print_facts, print_json, say
from relay.reasons import FORGOTTEN, RETENTION

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from relay.settings import Settings

_LARGEST_BATCH = 10_000  # ids that one row of the ledger keeps


@click.command()
@click.argument("ids", metavar="ID...", nargs=-1, required=True, type=message_id)
@ledger_options
@json_option
def redact(ids: tuple[int, ...], reason: str | None, actor: str | None, dry_run: bool, as_json: bool) -> None:
    """Remove the content of finished messages for good.

    A tombstone stays in its place, extra content and headers go with it, and the ledger keeps the SHA-256 of what was
    removed. Backups, and what the platform has, are not reached.
    """
    from relay.assembly.database import opened
    from relay.operators import actions
    from relay.settings import FOR_TABLES, load_for

    order = ordered(reason, actor, dry_run, {"ids": ids})
    settings = load_for(FOR_TABLES)
    with opened(settings, who=verb_in_use()) as database, database.operating() as engine, engine.begin() as connection:
        if dry_run:
            tell_preview(actions.preview(connection, "redact", ids), as_json=as_json)
            return
        result = actions.redact(connection, ids, order)
    tell_changed(result, as_json=as_json, done="redacted")


@click.command()
@click.option("--older-than", type=duration, required=True, help="Finished longer ago than this, for example 180d.")
@click.option("--batch", type=click.IntRange(1, _LARGEST_BATCH), default=1000, show_default=True, metavar="N")
@ledger_options_with(" [default: retention]")
@json_option
def prune(
    older_than: timedelta, batch: int, reason: str | None, actor: str | None, dry_run: bool, as_json: bool
) -> None:
    """Delete messages that finished long ago, with their attempts and calls.

    In small batches, each committed with its row in the ledger. The dedupe key stays known: a second insert with
    it does nothing, until RELAY_DEDUPE_KEEP_DAYS have passed. May be stopped and run again at any time.
    """
    from relay.assembly.database import opened
    from relay.operators import retention
    from relay.settings import FOR_TABLES, load_for

    order = ordered(reason or RETENTION.written(), actor, dry_run, {"older_than": older_than})
    settings = load_for(FOR_TABLES)
    with opened(settings, who=verb_in_use()) as database, database.operating() as engine:
        if dry_run:
            with engine.connect() as connection:
                messages, oldest = retention.prunable(connection, older_than)
            _tell_prunable(messages, oldest, as_json)
            return
        gone = summed(retention.prune(engine, older_than, order, batch=batch), retention.Pruned(), "deleted")
        forgotten = forgotten_keys(engine, settings, order.actor, batch)
    facts = {"messages": gone.messages, "attempts": gone.attempts, "calls": gone.calls} | forgotten
    if as_json:
        print_json(facts)
    else:
        print_facts({name.replace("_", " "): value for name, value in facts.items()})


def forgotten_keys(engine: Engine, settings: Settings, actor: str, batch: int) -> dict[str, int]:
    """Forget old dedupe keys, if a setting says after how long; nothing where they are kept for ever."""
    from relay.operators import retention
    from relay.operators.ledger import Order

    days = settings.dedupe_keep_days
    if not days:
        return {}
    with engine.connect() as connection:
        if not retention.may_forget_keys(connection):
            say("the owner of the tables alone forgets dedupe keys: none was; run relay prune as the owner", err=True)
            return {}
    order = Order(actor, FORGOTTEN.written(days=f"{days:g}"), {})
    batches = retention.forget_keys(engine, timedelta(days=days), order, batch=batch)
    return {"forgotten_dedupe_keys": sum(batches)}


def _tell_prunable(messages: int, oldest_seconds: float | None, as_json: bool) -> None:
    if as_json:
        print_json({"dry_run": True, "messages": messages, "oldest_seconds": oldest_seconds})
        return
    finished = None if oldest_seconds is None else timedelta(seconds=oldest_seconds)
    print_facts({"messages": messages, "oldest": finished})
    say("dry run: nothing was deleted", err=True)
