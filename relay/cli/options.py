"""What several verbs take: durations, moments, ``--json``."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

import click

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


class Duration(click.ParamType[timedelta]):
    """A whole number and a unit: 90s, 5m, 2h, 1d."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        match = re.fullmatch(r"(\d{1,6})([smhd])", str(value))
        if match is None:
            self.fail(f"{value!r} is no duration; write 90s, 5m, 2h or 1d.", param, ctx)
        return timedelta(**{_UNITS[match[2]]: int(match[1])})


class Moment(click.ParamType[datetime]):
    """A time with its offset, as RFC 3339 writes it."""

    name = "time"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        try:
            moment = datetime.fromisoformat(str(value))
        except ValueError:
            moment = None
        if moment is None or moment.tzinfo is None:
            self.fail(f"{value!r} is no time with an offset; write 2026-11-11T00:00:00+08:00.", param, ctx)
        return moment


json_option = click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
