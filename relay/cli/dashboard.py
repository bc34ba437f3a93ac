"""``relay dashboard``: the pages on this machine, until SIGINT or SIGTERM; or the hash of a password."""

from __future__ import annotations

import sys

import click

from relay.cli.printing import say


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="* is every address; beyond this machine: people.")
@click.option("--port", type=click.IntRange(0, 65535), default=9465, show_default=True, help="0 takes any free one.")
@click.option("--root-path", default="", metavar="PREFIX", help="What a proxy takes off the path: /relay.")
@click.option("--allow-actions", is_flag=True, help="Let people retry, discard, pause, resume; else it only reads.")
@click.option("--hash-password", is_flag=True, help="Read a password from stdin, and print its hash.")
def dashboard(host: str, port: int, root_path: str, allow_actions: bool, hash_password: bool) -> None:
    """Show pages: what is wrong, and what became of each message.

    It reads, and changes nothing, unless --allow-actions; RELAY_DASHBOARD_DATABASE_URL names its login, best one in the
    role relay_dashboard, and in relay_operator to act. Beyond this machine it starts only where people have to say who
    they are.
    """
    if hash_password:
        from relay.dashboard.people import hashed

        say(hashed(sys.stdin.readline().rstrip("\r\n")))
        return
    from relay.dashboard import create_app
    from relay.dashboard.serving import refuse_strangers, serve
    from relay.settings import FOR_DASHBOARD, load_for
    from relay.strangers import readers

    if root_path and (not root_path.startswith("/") or root_path.endswith("/")):
        raise click.BadParameter("it begins with a slash and ends without one: /relay", param_hint="--root-path")
    settings = load_for(FOR_DASHBOARD, dashboard_allow_actions=allow_actions or None)
    refuse_strangers(settings, host)
    if settings.dashboard_users_file and (who := readers(settings.dashboard_users_file)):
        say(f"warning: {settings.dashboard_users_file} can be read by {who}; run: chmod go-r on it", err=True)
    serve(
        create_app(settings), host, port, root_path=root_path,
        on_ready=lambda url: say(f"The dashboard is at {url}{root_path}/  Ctrl-C ends it.", err=True),
    )  # fmt: skip
