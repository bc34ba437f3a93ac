"""``relay check``: each finding on a line, and an exit code for scripts. It changes nothing and publishes nothing."""

from __future__ import annotations

import click

from relay.cli.called import as_called
from relay.cli.options import json_option
from relay.cli.printing import print_json, print_traceback, say, shown

# What stops everything else has a code of its own; anything else that fails is a 1.
_CODES = {"settings": 78, "database": 69}


@click.command()
@click.option("--account", help="Whom the platform is asked about; else default, and one of each other producer.")
@click.option("--no-platform", is_flag=True, help="Do not call the platform.")
@json_option
def check(account: str | None, no_platform: bool, as_json: bool) -> None:
    """Look for what is wrong: settings, database, tables, credentials, backlog.

    The platform is asked by a call without messages, which publishes nothing. Exit code 0 if nothing failed, warnings
    or not; 1 if something did; 69 if PostgreSQL cannot be reached, 78 if the settings are wrong.
    """
    from relay.assembly.examination import examined

    findings = []
    for finding in examined(account, ask_platform=not no_platform, unexpected=_traceback_if_asked_for):
        findings.append(finding)
        if not as_json:
            hint = f"  -> {shown(as_called(finding.hint))}" if finding.hint else ""
            say(f"{finding.state:4}  {finding.name:14}  {shown(finding.sentence)}{hint}")
    failed = [finding.name for finding in findings if finding.state == "fail"]
    if as_json:
        print_json({"ok": not failed, "facts": findings})
    if failed:
        raise click.exceptions.Exit(next((_CODES[name] for name in failed if name in _CODES), 1))


def _traceback_if_asked_for(error: Exception) -> None:
    if click.get_current_context().find_root().params.get("debug"):
        print_traceback(error)
