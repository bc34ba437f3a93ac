"""``relay config``: every option with its value and where that comes from, and what is wrong with any of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from relay.cli.options import json_option, worker_flags
from relay.cli.printing import print_json, print_table, say, say_exactly, shown

if TYPE_CHECKING:
    from relay.assembly.configuration import AccountShown, Configuration
    from relay.settings.inspection import Option

_HEADS = ("option", "value", "from", "default", "unit", "meaning")


@click.command()
@json_option
@click.option("--check", is_flag=True, help="Print nothing but what is wrong; exit with 78 if anything is.")
@click.option(
    "--toml", "as_toml", is_flag=True, help="Print a commented relay.toml with every option, without secrets."
)
@worker_flags
def config(as_json: bool, check: bool, as_toml: bool, **flags: Any) -> None:
    """Show every option with its value and source.

    Nothing is connected to. Of secrets it shows whether they are set, and a fingerprint that tells two apart. It works
    where settings are wrong, too, and says which; --check fails then.
    """
    from relay.assembly.configuration import configuration
    from relay.errors import ConfigurationError
    from relay.settings import SEE

    if check + as_json + as_toml > 1:
        raise click.UsageError("--check, --json and --toml exclude each other")
    found = configuration(**flags)
    if check:
        if found.problems:
            raise ConfigurationError("\n".join(found.problems), SEE)
        say("the settings are as they should be", err=True)
    elif as_json:
        print_json(_document(found))
    elif as_toml:
        say_exactly("".join(f"{line}\n" for line in _toml(found)))
    else:
        _print(found)


def _document(found: Configuration) -> dict[str, Any]:
    return {
        "ok": not found.problems,
        "options": [_plain(option) for option in found.options],
        "producers": {name: [_plain(option) for option in options] for name, options in found.producers.items()},
        "accounts": found.accounts,
        "problems": found.problems,
    }


def _plain(option: Option) -> dict[str, Any]:
    told = asdict(option)
    del told["group"], told["raw"]
    return {name: value if isinstance(value, int | float | None) else str(value) for name, value in told.items()}


def _print(found: Configuration) -> None:
    print_table(_HEADS, map(_row, found.options))
    for name, options in found.producers.items():
        if options:
            say(f"\n[producers.{shown(name)}]")
            print_table(_HEADS, map(_row, options))
    if found.accounts:
        say()
        print_table(("account", "from", "producer", "given", "fingerprint"), map(_account_row, found.accounts))
    if found.problems:
        say()
        for problem in found.problems:
            say(f"wrong: {shown(problem)}")


def _row(option: Option) -> Iterator[object]:
    yield f"{'! ' if option.problem else ''}{option.name}"
    yield _value(option)
    yield _source(option)
    yield "" if option.default is None else _told(option.default)
    yield option.unit
    yield option.meaning


def _source(option: Option) -> str:
    return shown(f"{option.source} {option.place}" if option.place else option.source)


def _value(option: Option) -> str:
    if not option.secret:
        return "" if option.value is None else _told(option.value)
    if not option.is_set:
        return "not set"
    said = [str(option.value)] if option.value else []
    return ", ".join(["set", *said, *([f"fingerprint {option.fingerprint}"] if option.fingerprint else [])])


def _told(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)


def _account_row(account: AccountShown) -> Iterator[object]:
    yield f"{'! ' if account.problem else ''}{account.name}"
    yield f"{account.source} {account.place}".strip()
    yield account.producer
    yield ", ".join(account.given)
    yield account.fingerprint or ""


def _toml(found: Configuration) -> Iterator[str]:
    from relay.settings import PREFIX
    from relay.settings.writing import toml_key

    yield "# Every option of the relay. Those that are commented out have their defaults, or are set where it says."
    yield f"# The environment wins over this file: batch_size is {PREFIX}BATCH_SIZE there."
    yield from _toml_options(found.options)
    for name, options in found.producers.items():
        yield ""
        yield f"[producers.{toml_key(name)}]"
        yield from _toml_options(options)
    if found.accounts:
        yield ""
        yield "# Accounts have secrets, so they are not written here: docs/accounts.md."
    for account in found.accounts:
        yield f"# account {toml_key(account.name)} from {shown(f'{account.source} {account.place}'.strip())}"


def _toml_options(options: Iterable[Option]) -> Iterator[str]:
    from relay.settings.writing import toml_value

    group = None
    for option in options:
        if option.group != group:
            group = option.group
            yield ""
        unit = f" ({option.unit})" if option.unit and option.unit not in option.meaning else ""
        yield f"# {option.meaning or option.name}{unit}"
        if option.problem:
            yield f"# wrong: {shown(option.problem)}"
        if option.secret:
            where = f", set in {_source(option)}" if option.is_set else ""
            yield f"# {option.name}: a secret, not written here{where}; {option.variable}_FILE names a file with it"
        elif option.name == "config":
            yield f"# this file itself, where {option.variable} names it"
        elif option.is_set and option.raw is None:
            yield f"# {option.name}: not written here, it may contain a password; set in {_source(option)}"
        elif option.is_set and not option.problem:
            yield f"{option.name} = {toml_value(option.raw)}"
        else:
            default = "" if option.default is None else f" {toml_value(option.default)}"
            yield f"# {option.name} ={default}"
