"""``relay pause`` and ``relay resume``: nothing of an account or an app key is claimed until then."""

from __future__ import annotations

from datetime import timedelta

import click

from relay.cli.acting import F, ledger_options, ordered
from relay.cli.options import duration, json_option, verb_in_use
from relay.cli.printing import print_json, say, shown


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
    from relay.settings import load

    scope = _scope(account, app)
    actions.require_possible(scope)
    order = ordered(reason, actor, dry_run, {"scope": scope, "for": lasting})
    settings = load()
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


@click.command()
@_scope_options
@ledger_options
@json_option
def resume(
    account: str | None, app: str | None, reason: str | None, actor: str | None, dry_run: bool, as_json: bool
) -> None:
    """End a pause, a person's or a worker's.

    Without a new credential a pause for a refused one comes back with the next call.
    """
    from relay.assembly.database import opened
    from relay.errors import RelayError
    from relay.operators import actions
    from relay.settings import load

    scope = _scope(account, app)
    order = ordered(reason, actor, dry_run, {"scope": scope})
    settings = load()
    with opened(settings, who=verb_in_use()) as database, database.operating() as engine, engine.begin() as connection:
        before = actions.pause_in_force(connection, scope)
        action = None if dry_run else actions.resume(connection, scope, order)
    if before is None or (action is None and not dry_run):
        raise RelayError(f"{scope} is not paused.", "relay status shows what is.")
    if dry_run:
        say(f"dry run: this pause would end: {shown(before.reason)}", err=True)
    elif not as_json:
        say(f"{scope} is resumed; row {action} of the ledger", err=True)
    if as_json:
        print_json({"scope": scope, "action": None if action is None else str(action)})


def _scope(account: str | None, app: str | None) -> str:
    if bool(account) == bool(app):
        raise click.UsageError("name either --account or --app")
    return f"account:{account}" if account else f"app:{app}"
