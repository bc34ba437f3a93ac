"""Retry and discard: what it would do to these messages, and then to these, as they were looked at, and to no other."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from relay import reports
from relay.dashboard.actions.choosing import MOST, Chosen, chosen, pinned, pins, stated
from relay.dashboard.actions.orders import Typed, fields_of, typed, untyped
from relay.dashboard.actions.reasons import by_reason
from relay.dashboard.filters import FILTERS, brought
from relay.dashboard.forms import require_fields
from relay.dashboard.visit import Acting, Page, PageVisit, command
from relay.message import CHANGED_SINCE
from relay.operators import actions
from relay.operators.actions import Verb

MOST_NAMED = 20  # of what would be changed, and of what may arrive twice
LEAST_PER_SECOND, MOST_PER_SECOND = 0.001, 1_000_000.0
_NUMBER = re.compile(r"\d{1,7}(\.\d{1,9})?", re.ASCII)


def look_at_retry(visit: PageVisit) -> Page:
    """What would be sent again."""
    return _look(visit, "retry")


def look_at_discard(visit: PageVisit) -> Page:
    """What would be closed."""
    return _look(visit, "discard")


def retry(visit: PageVisit, given: Mapping[str, str], acting: Acting) -> Page:
    """Send these again."""
    per_second, wrong = _rate(given)
    told = typed(visit, given, **wrong)
    seen, found = _seen(visit, given, "per_second")
    if told.wrong:
        return _looked_again(visit, "retry", given, seen, found, told)
    order = told.order(stated(found) | ({"rate": per_second} if per_second else {}))
    with acting() as connection:
        done = actions.retry(connection, list(seen), order, per_second=per_second, versions=list(seen.values()))
    return _done("retry", found, done)


def discard(visit: PageVisit, given: Mapping[str, str], acting: Acting) -> Page:
    """Close these."""
    told = typed(visit, given)
    seen, found = _seen(visit, given)
    if told.wrong:
        return _looked_again(visit, "discard", given, seen, found, told)
    order = told.order(stated(found))
    with acting() as connection:
        done = actions.discard(connection, list(seen), order, versions=list(seen.values()))
    return _done("discard", found, done)


def _look(visit: PageVisit, verb: Verb) -> Page:
    found = chosen(visit, verb)
    preview = visit.ask(actions.preview, verb, found.ids)
    return _preview(visit, verb, found, preview, pinned(preview.changing, preview.versions), untyped(visit))


def _looked_again(
    visit: PageVisit, verb: Verb, given: Mapping[str, str], seen: Mapping[int, int], found: Chosen, told: Typed
) -> Page:
    """The same messages in the versions that were looked at, for something was wrong in the form."""
    preview = _as_seen(visit.ask(actions.preview, verb, list(seen)), seen)
    return _preview(visit, verb, found, preview, given["pinned"], told)


def _as_seen(preview: actions.Preview, seen: Mapping[int, int]) -> actions.Preview:
    """Only what is as it was seen would be changed."""
    now = dict(zip(preview.changing, preview.versions, strict=True))
    kept = {id_: version for id_, version in now.items() if seen[id_] == version}
    skipped = {**preview.skipped, **dict.fromkeys(now.keys() - kept.keys(), CHANGED_SINCE)}
    return replace(preview, changing=tuple(kept), versions=tuple(kept.values()), skipped=skipped)


def _preview(
    visit: PageVisit, verb: Verb, found: Chosen, preview: actions.Preview, pinned_ids: str, told: Typed
) -> Page:
    unclear = visit.ask(reports.unclear_among, preview.changing) if verb == "retry" else ()
    values = {
        "verb": verb,
        "count": len(preview.changing),
        "first": preview.changing[:MOST_NAMED],
        "oldest_seconds": preview.oldest_seconds,
        "ordering_keys": preview.ordering_keys,
        "unclear": len(unclear),
        "unclear_first": unclear[:MOST_NAMED],
        "left_alone": by_reason(preview.skipped),
        "more": found.more,
        "most": MOST,
        "pinned": pinned_ids,
        "query": found.query,
        "told": told,
    }
    return Page("preview.html", values, _commands(verb, preview.changing), status=400 if told.wrong else 200)


def _done(verb: Verb, found: Chosen, done: actions.Changed) -> Page:
    values = {
        "verb": verb,
        "count": len(done.changed),
        "first": done.changed[:MOST_NAMED],
        "left_alone": by_reason(done.skipped),
        "action": done.action,
        "query": found.query,
    }
    return Page("done.html", values)


def _seen(visit: PageVisit, given: Mapping[str, str], *more: str) -> tuple[dict[int, int], Chosen]:
    """The versions that were looked at, and by which words their messages were chosen."""
    require_fields(given, ("pinned", *fields_of(visit), *FILTERS, *more))
    query, seen = brought(visit, given), pins(given.get("pinned", ""))
    return seen, Chosen(tuple(seen), query)


def _rate(given: Mapping[str, str]) -> tuple[float | None, dict[str, str]]:
    written = given.get("per_second", "").strip()
    if not written:
        return None, {}
    found = float(written) if _NUMBER.fullmatch(written) else 0.0
    if LEAST_PER_SECOND <= found <= MOST_PER_SECOND:
        return found, {}
    return None, {"per_second": "act.rate_wrong"}


def _commands(verb: Verb, ids: Sequence[int]) -> list[str]:
    return [command(verb, *ids[:MOST_NAMED], reason="...")] if 0 < len(ids) <= MOST_NAMED else []
