"""``relay status``, ``relay list``, ``relay show``: what is in the tables, for people and for programs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click

from relay.cli.acting import count, ordered
from relay.cli.called import as_called
from relay.cli.options import duration, json_option, verb_in_use
from relay.cli.printing import print_facts, print_json, print_table, say, shown
from relay.cli.watching import watch_option, watched
from relay.showing import escaped

if TYPE_CHECKING:
    from relay.operators.ledger import Order
    from relay.reports import MessageReport, Status, Throughput, Trouble
    from relay.settings import Settings

THE_CONDITION_HOLDS = 3
_MOST_PAUSES, _MOST_APPS = 30, 3
_LARGEST_ID = 2**63 - 1


@click.command()
@json_option
@click.option("--fail-if-older", type=duration, help="Exit with 3 if the oldest due message has waited longer.")
@watch_option
def status(as_json: bool, fail_if_older: timedelta | None, watch: float | None) -> None:
    """Show what waits, is in flight and got through; failures, pauses, workers."""
    if watch is not None:
        if fail_if_older is not None:
            raise click.UsageError("--watch and --fail-if-older exclude each other: one goes on, the other one ends")
        watched(watch, _asked_for_status, lambda found: _show_status(found, as_json), headed=not as_json)
        return
    found = _asked_for_status()
    _show_status(found, as_json)
    if fail_if_older is not None and (found[0].oldest_due_seconds or 0) > fail_if_older.total_seconds():
        raise click.exceptions.Exit(THE_CONDITION_HOLDS)


def _asked_for_status() -> tuple[Status, Throughput, Throughput]:
    from relay import reports
    from relay.assembly.database import opened
    from relay.settings import FOR_TABLES, load_for

    settings = load_for(FOR_TABLES)
    with opened(settings, who=verb_in_use(), any_text=True) as database, database.reading() as connection:
        found = reports.status(connection)
        return found, reports.throughput(connection, reports.HOUR), reports.throughput(connection, reports.DAY)


def _show_status(asked: tuple[Status, Throughput, Throughput], as_json: bool) -> None:
    found, hour, day = asked
    if as_json:
        print_json({**asdict(found), "last_hour": hour, "last_day": day})
    else:
        _print_status(found, hour, day)


@click.command()
@click.option("--status", type=click.Choice(["pending", "held", "done", "failed"]))
@click.option("--topic")
@click.option("--account")
@click.option("--key", "ordering_key", help="The ordering key.")
@click.option("--error", "error_code", metavar="CODE", help="The code of the last outcome that was not done.")
@click.option("--since", type=duration, help="Inserted no longer ago than this, for example 2h.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True)
@click.option("--after", type=click.IntRange(1, _LARGEST_ID), metavar="ID", help="Go on below this message.")
@json_option
def list_messages(
    status: str | None, since: timedelta | None, limit: int, after: int | None, as_json: bool, **wanted: Any
) -> None:
    """List messages, the newest first."""
    from relay import reports
    from relay.assembly.database import opened
    from relay.settings import FOR_TABLES, load_for

    settings = load_for(FOR_TABLES)
    with opened(settings, who=verb_in_use(), any_text=True) as database, database.reading() as connection:
        begins = None if since is None else reports.now(connection) - since
        search = reports.Search(status, since=begins, **wanted)
        found = reports.find(connection, search, reports.Cursor((after,) if after else None), limit=limit)
    following = found.older[0] if found.older else None
    if as_json:
        print_json({"items": found.lines, "next": following})
        return
    heads = [field.name for field in fields(reports.FoundMessage) if field.name not in ("held", "archived")]
    rows = (asdict(line) | ({"status": "held"} if line.held else {}) for line in found.lines)
    print_table(heads, ([row[name] for name in heads] for row in rows))
    if found.looked_to is not None:
        say(
            f"looked at {reports.MOST_LOOKED:,} messages, down to {following}; to look at more: --after {following}",
            err=True,
        )
    elif following is not None:
        say(f"more: --after {following}", err=True)


@click.command()
@click.argument("message_id", metavar="ID", type=click.IntRange(1, _LARGEST_ID))
@click.option("--reveal", is_flag=True, help="Show content and error texts as they are; leaves a row in the ledger.")
@click.option("--reason", metavar="TEXT", help="Why they are needed; required with --reveal.")
@click.option("--actor", metavar="NAME", help="Who wants it.  [default: user@host]")
@json_option
def show(message_id: int, reveal: bool, reason: str | None, actor: str | None, as_json: bool) -> None:
    """Show one message with its attempts and calls.

    The content is not shown, only its length and the SHA-256 of its text, and error texts are masked; unless you ask
    for them and say why.
    """
    from relay import reports
    from relay.assembly.database import opened
    from relay.errors import RelayError
    from relay.settings import FOR_TABLES, load_for
    from relay.traces import trace_address

    if not reveal and (reason or actor):
        raise click.UsageError("--reason and --actor go with --reveal")
    order = ordered(reason, actor, False, {"ids": [message_id]}) if reveal else None
    settings = load_for(FOR_TABLES)
    with opened(settings, who=verb_in_use(), any_text=True) as database, database.reading() as connection:
        found = reports.message(connection, message_id)
        trace_id = reports.trace_id(connection, message_id)
    if found is None:
        raise RelayError(f"There is no message {message_id}.", "relay list shows which there are.")
    found, texts = _revealed(settings, found, order) if order else (found, {})
    facts = asdict(found) | {"held_since": found.held_since, "trace_id": trace_id}
    if trace_id and settings.trace_url:
        facts["trace"] = trace_address(settings.trace_url, trace_id)
    if as_json:
        print_json(facts | texts)
    else:
        _print_message(facts)
        _print_texts(texts)


def _print_status(found: Status, hour: Throughput, day: Throughput) -> None:
    from relay.reports import FailedCode, far_told, foremost

    oldest = found.oldest_due_seconds
    print_facts(
        {
            "pending": found.pending,
            "  due": _due(found),
            "  waiting": found.waiting,
            "  held": found.held,
            "oldest due": None if oldest is None else timedelta(seconds=oldest),
            "  far off": far_told(found),
            "in flight": f"{count(found.in_flight_messages, 'message')} in {count(found.in_flight_calls, 'call')}",
            "failed": _failed(found),
            "last hour": _throughput(hour),
            "last day": _throughput(day),
            "platform": _trouble(found.trouble),
            "in the way": "; ".join(f"{one}: {one.remedy}" for one in found.lingering) or None,
        }
    )
    shown_pauses = foremost(found.pauses, _MOST_PAUSES)
    others = FailedCode(f"{found.failed_other_codes:,} other codes", found.failed_other_messages)
    for heads, rows in (
        (("failed", "messages"), [*found.failed, *([others] if found.failed_other_codes else [])]),
        (("paused", "until", "reason", "error code", "since", "by"), shown_pauses),
        (("worker", "calls", "messages", "lease until"), found.workers),
    ):
        if rows:
            say()
        print_table(heads, (asdict(row).values() for row in rows))
        if rows is shown_pauses and (more := len(found.pauses) - len(rows)):
            say(as_called(f"and {more} more pauses: see relay status --json, or relay.audit_pause where in_force"))


def _due(found: Status) -> str:
    """All of them, and how many of those wait, or may wait, for a pause."""
    paused, perhaps = found.due_paused, found.due_perhaps_paused
    said = [f"{paused} of accounts that are paused"] if paused else []
    if perhaps:
        apps = [pause.scope for pause in found.pauses if pause.of_an_app]
        more = f" and {len(apps) - _MOST_APPS} more" if len(apps) > _MOST_APPS else ""
        said.append(f"{perhaps} that may wait for the pause of {', '.join(apps[:_MOST_APPS])}{more}")
    return f"{found.due}" + (f", of which {', and '.join(said)}" if said else "")


def _failed(found: Status) -> str:
    """All of them, and how many of those a person discarded, which is no trouble."""
    from relay.reports import DISCARDED

    discarded = sum(code.messages for code in found.failed if code.error_code == DISCARDED)
    return f"{found.failed_messages}" + (f", of which {discarded} discarded" if discarded else "")


def _throughput(found: Throughput) -> str | None:
    """``None`` where nothing was done; the second number of two is what 95 of 100 are within."""
    if not found.done:
        return None
    said = [f"{found.done:,} done in {count(found.calls, 'call')}, {found.done_per_second:.3g} a second"]
    if found.call_ms:
        half, most = f"{found.call_ms.half:.0f}", f"{found.call_ms.most:.0f}"
        said.append(f"a call takes {half if half == most else f'{half} to {most}'} ms")
    if found.message_seconds:
        said.append(f"a message {found.message_seconds.half:.3g} to {found.message_seconds.most:.3g} s")
    return "; ".join(said)


def _trouble(trouble: Trouble | None) -> str | None:
    if trouble is None:
        return None
    said = f"{trouble.error_code}: {trouble.error_message}"
    return f"the last {trouble.calls} calls came to nothing, since {shown(trouble.since)}; the last one: {said}"


def _revealed(settings: Settings, found: MessageReport, order: Order) -> tuple[MessageReport, dict[str, str]]:
    """The same unmasked, and the texts that are there by name, once the ledger has it that they were asked for."""
    from relay import reports
    from relay.assembly.database import opened
    from relay.operators import actions

    calls = [call.id for call in found.calls]
    with opened(settings, who=verb_in_use()) as database, database.operating() as engine, engine.begin() as connection:
        texts = actions.reveal(connection, found.id, order, calls=calls)
    if texts is None:
        return found, {}
    told = {name: getattr(texts, name) for name in ("content", "json_ex_content", "headers")}
    return reports.unmasked(found, texts), {name: value for name, value in told.items() if value is not None}


def _print_texts(texts: Mapping[str, str]) -> None:
    for name, value in texts.items():
        say(f"\n{name.replace('_', ' ')}")
        for line in value.splitlines():
            say(escaped(line))


def _print_message(facts: dict[str, Any]) -> None:
    calls, history, newest_only = facts.pop("calls"), facts.pop("history"), facts.pop("newest_only")
    perhaps, behind = facts.pop("perhaps_paused_by"), facts.pop("behind_failed")
    pause, held, since = facts.pop("pause"), facts.pop("held"), facts.pop("held_since")
    if held:
        way = as_called("relay retry or relay discard")
        facts["status"] += f", held for a person since {shown(since)}: {way} {facts['id']}"
    if pause:
        until = shown(pause["until"]) if pause["until"] else "resumed"
        said = f"{pause['scope']} until {until}: {pause['reason']}"
        facts = {name: facts.pop(name) for name in ("id", "status")} | {"paused": said} | facts
    if perhaps:
        named = "; ".join(f"{one['scope']}: {one['reason']}" for one in perhaps)
        said = f"if its account has the app key of {named}"
        facts = {name: facts.pop(name) for name in ("id", "status")} | {"perhaps paused": said} | facts
    if behind:
        way = as_called(f"relay retry {behind['id']} or relay discard {behind['id']}")
        said = f"message {behind['id']} of its ordering key ({behind['error_code']}); it waits for that one where "
        said += f"workers have RELAY_ON_FAILED_HEAD=hold: {way}"
        facts = {name: facts.pop(name) for name in ("id", "status")} | {"behind failed": said} | facts
    print_facts({name.replace("_", " "): value for name, value in facts.items()})
    for title, rows in (("attempts", history), ("calls", calls)):
        if rows:
            say(f"\n{title}")
            print_table([name.replace("_", " ") for name in rows[0]], (row.values() for row in rows))
    if newest_only:
        say(f"\nThe newest {max(len(calls), len(history))} only; there are more: see relay.audit_delivery")
