"""All verbs with their sentences, as ``relay --help`` shows them, and what happens when one of them fails.

A verb is one file of this folder and one line here. Its module is imported when the verb is used, so that help and
completion answer at once.
"""

from __future__ import annotations

import pkgutil

import click

import relay as package
from relay.cli.failures import failure_of

VERBS = {
    "demo": ("relay.cli.demo:demo", "Show everything at work, on a database and a platform of its own."),
    "migrate": ("relay.cli.migrate:migrate", "Bring the tables up to date, or print the DDL."),
    "run": ("relay.cli.run:run", "Produce pending messages until stopped."),
    "sandbox": ("relay.cli.sandbox:sandbox", "Play the platform on this machine, with faults on demand."),
    "add": ("relay.cli.add:add", "Insert one message and print its id."),
    "status": ("relay.cli.reading:status", "Show what waits, is in flight and got through; failures, pauses, workers."),
    "list": ("relay.cli.reading:list_messages", "List messages, the newest first."),
    "show": ("relay.cli.reading:show", "Show one message with its attempts and calls."),
    "retry": ("relay.cli.operating:retry", "Send failed and held messages again."),
    "discard": ("relay.cli.operating:discard", "Close messages that must not be sent, with a reason."),
    "pause": ("relay.cli.pausing:pause", "Claim nothing of an account or app key for a while."),
    "resume": ("relay.cli.pausing:resume", "End pauses, a person's or a worker's: one, several, or all for one code."),
    "redact": ("relay.cli.removing:redact", "Remove the content of finished messages for good."),
    "prune": ("relay.cli.removing:prune", "Delete messages that finished long ago, with their attempts and calls."),
    "export": ("relay.cli.export:export", "Write what the audit views show into files, with a manifest of hashes."),
    "archive": ("relay.cli.archive:archive", "Move finished messages to the archive; list and drop its months."),
    "check": ("relay.cli.check:check", "Look for what is wrong: settings, database, tables, credentials, backlog."),
    "config": ("relay.cli.config:config", "Show every option with its value and source."),
    "dashboard": (
        "relay.cli.dashboard:dashboard",
        "Show pages: what is wrong, and what became of each message.",
    ),
    "explain": ("relay.cli.explain:explain", "Say what a code means, what the relay does, and whom to ask."),
    "topics": ("relay.cli.topics:topics", "Print typed messages as JSON Schema, or what a new version breaks."),
    "roles": ("relay.cli.roles:roles", "Show least-privilege roles, or print the SQL that makes them."),
    "version": ("relay.cli.version:version", "Show the version."),
}
INTERRUPTED = 130


class _Verbs(click.Group):
    """Holds a verb as its sentence until it is used, and turns every failure into a sentence and an exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name, known, rest = super().resolve_command(ctx, args)
        return name, known and pkgutil.resolve_name(VERBS[str(name)][0]), rest

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except click.ClickException as error:
            from relay.showing import escaped  # help and completion need none of its patterns

            # It may quote what it was given.
            error.message = escaped(error.message, keep="\n")  # type: ignore[misc]  # click calls it final
            raise
        except (click.exceptions.Exit, BrokenPipeError):
            raise  # click knows what to do
        except KeyboardInterrupt:
            raise click.exceptions.Exit(INTERRUPTED) from None
        except Exception as error:
            if ctx.params["debug"]:
                from relay.cli.printing import print_traceback

                print_traceback(error)
            raise failure_of(error) from None


@click.group(
    cls=_Verbs,
    commands={name: click.Command(name, help=sentence) for name, (_, sentence) in VERBS.items()},
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 done, 1 failed, 2 usage, 3 what was asked about holds, 69 unreachable, 78 configuration.",
)
@click.option("--debug", is_flag=True, help="Show the traceback of a failure.")
@click.version_option(package.__version__, prog_name="relay", message="%(prog)s %(version)s")
def relay(debug: bool) -> None:
    """Transactional outbox relay: from a row in your transaction to taobao.tmc.messages.produce.

    Settings come from RELAY_* variables, from the files that RELAY_..._FILE name, and from relay.toml.
    """
