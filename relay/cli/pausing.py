"""``relay pause`` and ``relay resume``: nothing of an account or an app key is claimed until then."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from itertools import islice
from typing import TYPE_CHECKING

import click

from relay.cli.acting import NOT_ALL, F, confirm, count, ledger_options, ordered
from relay.cli.options import duration, json_option, verb_in_use
from relay.cli.printing import print_json, say, shown
from relay.errors import RelayError
from relay.message import CHANGED_SINCE
from relay.showing import escaped

if TYPE_CHECKING:
    from relay.operators.actions import PauseInForce
    from relay.settings import Settings

_AT_ONCE = 1000  # pauses ended in one transaction: workers wait for it that would end or order one of them


def _scope_options(verb: F) -> F:
    verb = click.option("--app", metavar="KEY", help="All accounts with this app key.")(verb)
    return click.option("--account", metavar="NAME", help="This account.")(verb)


@click.command()
@_scope_options
@click.option("--for", "lasting", type=duration, help="How long, for example 30m.  [default: until resumed]")
@ledger_options
@json_option
def pause(
    account: str | None,
    app: str | None,
    lasting: timedelta | None,
    reason: str | None,
    actor: str | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Claim nothing of an account or app key for a while.

    Calls in flight go on. The pause takes the place of any other one of the same account or app key, also of one that a
    new credential would have ended.
    """
    from relay.assembly.database import opened
    from relay.operators import actions
    from relay.settings import FOR_TABLES, load_for

    scope = _scope(account, app)
    actions.require_possible(scope)
    order = ordered(reason, actor, dry_run, {"scope": scope, "for": lasting})
    settings = load_for(FOR_TABLES)
    with opened(settings, who=verb_in_use()) as database, database.operating() as engine, engine.begin() as connection:
        before = actions.pause_in_force(connection, scope)
        until, action = None, None
        if not dry_run:
            until, action = actions.pause(connection, scope, order, lasting=lasting)
    if before is not None:
        say(f"in the place of a pause by {shown(before.by)}: {shown(before.reason)}", err=True)
    if dry_run:
        say(f"dry run: {scope} would be paused {f'for {lasting}' if lasting else 'until resumed'}", err=True)
    elif not as_json:
        say(f"{scope} is paused until {shown(until) if until else 'resumed'}; row {action} of the ledger", err=True)
    if as_json:
        print_json({"scope": scope, "until": until, "action": None if action is None else str(action)})
    if account is not None:
        _warn_of_a_strange(account, settings)


@click.command()
@click.option("--account", "accounts", metavar="NAME", multiple=True, help="This account; may be given again.")
@click.option("--app", "apps", metavar="KEY", multiple=True, help="All accounts with this app key; may be given again.")
@click.option("--error", "error_code", metavar="CODE", help="All pauses for this code.")
@click.option("--yes", is_flag=True, help="Do not ask; needed where nobody can be asked.")
@ledger_options
@json_option
def resume(
    accounts: tuple[str, ...],
    apps: tuple[str, ...],
    error_code: str | None,
    yes: bool,
    reason: str | None,
    actor: str | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """End pauses, a person's or a worker's: one, several, or all for one code.

    Without a new credential a pause for a refused one comes back with the next call. Each has a row in the ledger.
    """
    from relay.assembly.database import opened
    from relay.operators import actions
    from relay.settings import FOR_TABLES, load_for

    named = [f"account:{name}" for name in accounts if name] + [f"app:{key}" for key in apps if key]
    scopes = list(dict.fromkeys(named))
    if bool(scopes) == (error_code is not None):
        raise click.UsageError(
            "which pauses? Name --account and --app, each as often as you like, or only --error CODE"
        )
    stated = {"error": error_code, "scopes": scopes} if len(scopes) != 1 else {"scope": scopes[0]}
    order = ordered(reason, actor, dry_run, {name: value for name, value in stated.items() if value})
    settings = load_for(FOR_TABLES)
    with opened(settings, who=verb_in_use()) as database, database.operating() as engine:
        with engine.connect() as connection:
            found = actions.pauses_in_force(connection, scopes or None, error_code=error_code)
        if not (dry_run or scopes or yes):
            confirm("resume", len(found), "pause")
        ended: dict[str, int | None] = dict.fromkeys(found) if dry_run else {}
        seen = None if scopes else {scope: one.since for scope, one in found.items()}
        for some in () if dry_run else _batched(found, _AT_ONCE):
            with engine.begin() as connection:
                ended |= actions.resume_all(connection, some, order, seen=seen)
    if len(scopes) == 1:
        _tell_resumed(scopes[0], found, ended, dry_run=dry_run, as_json=as_json)
    else:
        _tell_all_resumed(scopes, found, ended, dry_run=dry_run, as_json=as_json)


def _tell_resumed(
    scope: str, found: Mapping[str, PauseInForce], ended: Mapping[str, int | None], *, dry_run: bool, as_json: bool
) -> None:
    if scope not in ended:
        raise RelayError(f"{escaped(scope)} is not paused.", "relay status shows what is.")
    action = ended[scope]
    if dry_run:
        say(f"dry run: this pause would end: {shown(found[scope].reason)}", err=True)
    elif not as_json:
        say(f"{shown(scope)} is resumed; row {action} of the ledger", err=True)
    if as_json:
        print_json({"scope": scope, "action": None if action is None else str(action)})


def _tell_all_resumed(
    scopes: Sequence[str],
    found: Mapping[str, PauseInForce],
    ended: Mapping[str, int | None],
    *,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Scopes on stdout, one a line, so that they can be piped on; exits with 1 where one was left.

    Without a name those are meant that were found: one that is no more as it was then is left alone.
    """
    missing = [scope for scope in scopes or found if scope not in ended]
    if as_json:
        rows = [
            {"scope": scope, "reason": found[scope].reason, "action": None if action is None else str(action)}
            for scope, action in ended.items()
        ]
        print_json({"dry_run": dry_run, "count": len(ended), "resumed": rows, "not_paused": missing})
    else:
        for scope in ended:
            say(shown(scope))
    if dry_run:
        say(f"dry run: {count(len(ended), 'pause')} would end; nothing was changed", err=True)
    elif rows_of_ledger := [action for action in ended.values() if action is not None]:
        first, last = min(rows_of_ledger), max(rows_of_ledger)
        where = f"row {first}" if first == last else f"rows {first} to {last}"
        say(f"{count(len(ended), 'pause')} ended; {where} of the ledger", err=True)
    elif not missing:
        say("no pause fits: nothing was changed", err=True)
    why = "not paused" if scopes else f"left alone: {CHANGED_SINCE}"
    for scope in missing:
        say(f"{shown(scope)} is {why}", err=True)
    if missing:
        raise click.exceptions.Exit(NOT_ALL)


def _batched(scopes: Iterable[str], most: int) -> Iterator[list[str]]:
    rest = iter(scopes)
    while some := list(islice(rest, most)):
        yield some


def _warn_of_a_strange(account: str, settings: Settings) -> None:
    """A name that nothing knows may be a slip. Asked once the pause is in force: it must wait for no answer."""
    from relay.assembly.accounts import is_known
    from relay.assembly.database import opened
    from relay.operators import actions

    with suppress(RelayError):
        with opened(settings, who=verb_in_use()) as database, database.operating() as engine, engine.begin() as asking:
            waiting = actions.has_pending(asking, account)
        if not waiting and not is_known(settings, account):
            say(
                f"warning: no pending message has the account {shown(account)}, and no credential for it is known "
                "here: if the name is a slip, relay resume ends this pause",
                err=True,
            )


def _scope(account: str | None, app: str | None) -> str:
    if bool(account) == bool(app):
        raise click.UsageError("name either --account or --app")
    return f"account:{account}" if account else f"app:{app}"
