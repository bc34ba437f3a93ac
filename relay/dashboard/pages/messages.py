"""``/messages``: messages by what they are; an id, a request id or a dedupe key leads straight to what it names."""

from __future__ import annotations

from datetime import datetime

from relay import reports
from relay.dashboard.documents import listed
from relay.dashboard.filters import FILTERS, search
from relay.dashboard.refreshing import LIST
from relay.dashboard.visit import LARGEST_ID, Elsewhere, NotFound, NotUnderstood, Page, PageVisit, command
from relay.reports import Search

SQL = "select * from {schema}.read_outbox<where>\norder by id desc limit 50;"
_STATES = {
    "pending": "status = 'pending'",
    "due": "status = 'pending' and not held and (available_at is null or available_at <= now())",
    "waiting": "status = 'pending' and available_at > now()",
    "held": "held",
    "done": "status = 'done'",
    "failed": "status = 'failed'",
}


def messages(visit: PageVisit) -> Page | Elsewhere:
    """A stretch of them, the newest first."""
    if elsewhere := _looked_up(visit):
        return elsewhere
    wanted = search(visit)
    found = visit.ask(reports.find, wanted, visit.cursor(int))
    chosen = {name: value for name in FILTERS if (value := visit.text(name))}
    values = {"found": found, "chosen": chosen, "states": reports.STATES, "looked": reports.MOST_LOOKED}
    sql = visit.sql(_sql(wanted), **_values(wanted))
    return Page("messages.html", values, [_command(wanted)], sql, listed(found), every=LIST)


def _looked_up(visit: PageVisit) -> Elsewhere | None:
    if written := visit.text("id"):
        visit.require_alone("id")
        digits = written.strip()
        if not (digits.isascii() and digits.isdigit() and 0 < int(digits) <= LARGEST_ID):
            raise NotUnderstood("id")
        return Elsewhere(f"/messages/{int(digits)}")
    if request := visit.text("request"):
        visit.require_alone("request")
        return Elsewhere("/calls", {"request": request.strip()})
    if dedupe := visit.text("dedupe"):
        visit.require_alone("dedupe", "account")
        account = visit.text("account") or "default"
        ids = visit.ask(reports.of_dedupe_key, account, dedupe)
        if not ids:
            raise NotFound("not_found.dedupe", dedupe_key=dedupe, account=account)
        return Elsewhere(f"/messages/{ids[-1]}")
    return None


def _command(wanted: Search) -> str:
    state = wanted.state if wanted.state in ("pending", "done", "failed", None) else "pending"
    return command(
        "list", status=state, topic=wanted.topic, account=wanted.account, key=wanted.ordering_key,
        error=wanted.error_code,
    )  # fmt: skip


def _sql(wanted: Search) -> str:
    conditions = [_STATES[wanted.state]] if wanted.state else []
    conditions += [f"{name} = <{name}>" for name in _values(wanted) if name not in ("since", "until")]
    conditions += ["created_at >= <since>"] if wanted.since else []
    conditions += ["created_at < <until>"] if wanted.until else []
    where = "\nwhere " + "\n  and ".join(conditions) if conditions else ""
    return SQL.replace("<where>", where)


def _values(wanted: Search) -> dict[str, str | datetime]:
    names = ("topic", "account", "ordering_key", "error_code", "since", "until")
    return {name: value for name in names if (value := getattr(wanted, name)) is not None}
