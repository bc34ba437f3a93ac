"""``relay explain CODE``: what a code means, what the relay does about it, and whom to ask. Needs no settings."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from relay.cli.options import json_option
from relay.cli.printing import print_facts, print_json

if TYPE_CHECKING:
    from relay.explained import Explainer


@click.command()
@click.argument("code")
@json_option
def explain(code: str, as_json: bool) -> None:
    """Say what a code means, what the relay does, and whom to ask.

    A code or a sub code of the platform, one of your own producer's, or one of the relay's: 27, isv.invalid-parameter,
    relay.lease_expired.
    """
    from relay.explanations import explain as explained

    found = explained(code, *_explainers())
    if as_json:
        print_json(asdict(found))
        return
    call, message = found.call, found.message
    alike = call is not None and message is not None and call.sentence == message.sentence
    print_facts(
        {
            "code": found.code,
            "meaning": found.meaning,
            "in Chinese": found.meaning_zh,
            "fault": call.fault if call else message.fault if message else None,
            "concerns": call.concerns if call else None,
            "the relay" if alike else "for a call": call.sentence if call else None,
            "for a message": message.sentence if message and not alike else None,
            "ask": found.ask,
            "ask, Chinese": found.ask_zh or None,
        }
    )


def _explainers() -> list[Explainer]:
    """Of the producers in use; where the settings say nothing of use, of those that come with the relay."""
    from relay.assembly.producers import explainers, explainers_of
    from relay.errors import ConfigurationError
    from relay.settings import load_for

    try:
        return explainers(load_for(()))
    except ConfigurationError:
        return explainers_of()
