"""Reveal: the content of one message, unmasked, to whoever says why; the ledger has its row before anybody sees it."""

from __future__ import annotations

from collections.abc import Mapping

from relay import reports
from relay.dashboard.actions.orders import Typed, fields_of, typed, untyped
from relay.dashboard.forms import require_fields
from relay.dashboard.visit import Acting, NotFound, NotUnderstood, Page, PageVisit, command, id_of
from relay.operators import actions

NAMES = ("id",)
SQL = """
select content, json_ex_content, headers, error_message from {schema}.outbox where id = <id>
union all select content, json_ex_content, headers, error_message from {schema}.outbox_archive where id = <id>;
select call_id, error_message from {schema}.attempt where message_id = <id>
union all select call_id, error_message from {schema}.attempt_archive where message_id = <id>;
"""


def look_at_reveal(visit: PageVisit) -> Page:
    """The form; nothing of the content."""
    return _form(visit, _known(visit.text("id")), untyped(visit))


def reveal(visit: PageVisit, given: Mapping[str, str], acting: Acting) -> Page:
    """Its texts, once their row in the ledger is committed. NotFound where there is no such message."""
    require_fields(given, ("id", *fields_of(visit)))
    number, told = _known(given.get("id")), typed(visit, given)
    if told.wrong:
        return _form(visit, number, told)
    with acting() as connection:
        texts = actions.reveal(connection, number, told.order({"ids": [number]}))
    if texts is None:
        raise NotFound("not_found.message", id=number)
    return Page("revealed.html", {"id": number, "texts": texts}, sql=visit.sql(SQL, id=number))


def in_words(written: str) -> str:
    """What somebody who may types elsewhere."""
    return command("show", id_of(written) or "ID", reveal=True, reason="...")


def _form(visit: PageVisit, number: int, told: Typed) -> Page:
    if visit.ask(reports.message, number) is None:
        raise NotFound("not_found.message", id=number)
    return Page("reveal.html", {"id": number, "told": told}, status=400 if told.wrong else 200)


def _known(written: str | None) -> int:
    if (number := id_of(written or "")) is None:
        raise NotUnderstood("id")
    return number
