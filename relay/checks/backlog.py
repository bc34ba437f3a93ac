"""What is waiting, what was given up, and whether a worker is at work.

Everything here is found through the partial indexes: none of it grows with the messages that are done.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, Row

from relay import reports
from relay.checks import Finding, fail, ok, warn
from relay.schema import MAX_BYTES, TOMBSTONE, JSONText, outbox
from relay.settings import Settings
from relay.showing import masked
from relay.sql import SOUND, quoted, statement

OLD_SECONDS = 300
NAMED_PAUSES = 3
# Calls of an app key that may wait for its pace: a longer queue comes from no relay.
QUEUED_CALLS = 100
FAR_SECONDS = 60
# At a fast pace that is thousands of calls, and less is far too; but this many may wait where there are many workers.
QUEUED_BY_A_FLEET, NEAR_SECONDS = 400, 10
# A worker that runs settles lapsed calls within a poll interval.
LAPSED_SECONDS = 10

# Each half has the condition of one partial index; a plain "status is pending" would fit neither of them.
_HELD = """
select (select count(*) from {schema}.outbox
        where status = 'pending' and ordering_key is null and available_at = 'infinity')
     + (select count(*) from {schema}.outbox
        where status = 'pending' and ordering_key is not null and available_at = 'infinity')
"""
# No large value is read for its size, so JSON that is compressed counts as less. A few thousand rows tell enough.
_SUSPECTS = " or ".join(
    f"{'pg_column_size' if isinstance(outbox.c[name].type, JSONText) else 'octet_length'}({name}) > {size + 4}"
    for name, size in MAX_BYTES.items()
)
_BEYOND = (
    """
select count(*) from (
    (select COLUMNS from {schema}.outbox where status = 'pending' and ordering_key is null
     order by account, available_at, id limit 5000)
    union all
    (select COLUMNS from {schema}.outbox where status = 'pending' and ordering_key is not null
     order by account, ordering_key, id limit 5000)
) as o
where dedupe_key = '' or account ~ '[[:cntrl:]]' or SUSPECTS
    or pg_column_size(content) < 64 and cast(content as text) = 'TOMBSTONE'
""".replace("COLUMNS", ", ".join((*MAX_BYTES, "content")))
    .replace("SUSPECTS", _SUSPECTS)
    .replace("TOMBSTONE", TOMBSTONE)
)
_BLOCKED = """
select count(*), count(*) filter (where error_code is not null and age > make_interval(secs => :old_seconds))
from {schema}.blocked_keys
"""
_PAUSES = """
select scope, until, reason, credential is not null as for_a_credential
from {schema}.pause where until is null or until > now() order by since
"""
# By whether pauses were ordered for a credential: those of a person, and for a time, end by their time or a person.
_WHAT_ENDS_THEM = {
    (True,): "a new credential ends its pause, else: relay resume",
    (False,): "relay resume ends a pause that has no time, and any other one before its time",
    (False, True): "a new credential ends a pause for a refused one; relay resume ends every other one",
}
_PACES = """
select right(app_key, 4) as tail, next_at, extract(epoch from next_at - clock_timestamp()) as seconds, db_user,
    extract(epoch from step) as step_seconds
from {schema}.pace where next_at > clock_timestamp() + make_interval(secs => :far_seconds) order by next_at desc
"""
_NEXT = """
select right(app_key, 4) as tail, next_at, db_user, count(*) over () as keys
from {schema}.pace order by next_at desc limit 1
"""
_SOONER = "delete from {schema}.pace where next_at > now() + interval '{seconds} s'"
_FAILED = """
select count(*) as messages, mode() within group (order by error_code) as often
from {schema}.outbox where status = 'failed' and finished_at > now() - interval '1 hour'
    and error_code is distinct from 'relay.discarded'
"""
_UNSOUND = """
select c.id, c.worker, c.created_by from {schema}.call c where c.settled_at is null and not {sound} order by c.id
""".replace("{sound}", SOUND)


def backlog(connection: Connection, settings: Settings) -> Iterator[Finding]:
    """How many messages are due and for how long the oldest; a warning from ``OLD_SECONDS`` on.

    What waits for a pause, or may, is no worker's business: of that the check ``pauses`` warns. What is behind a failed
    message of its ordering key may be none either: that is told by itself.
    """
    found = reports.status(connection)
    if found.oldest_due_seconds is None:
        yield ok("no message is due")
        return
    said, oldest = f"{found.due} due, the oldest for {found.oldest_due_seconds:.0f} s", found.oldest_free_seconds
    if oldest is None and not found.due_perhaps_paused:
        yield ok(f"{said}; all of accounts that are paused")
        return
    paused = [f"{found.due_paused} of them of paused accounts"] if found.due_paused else []
    if found.due_perhaps_paused:
        paused.append(f"{found.due_perhaps_paused} of them may wait for the pause of an app key")
    if oldest is None:
        yield ok(f"{said}; {', '.join(paused)}")
        return
    if paused:
        said = f"{found.due} due, {', '.join(paused)}; the oldest other one for {oldest:.0f} s"
    if not is_old(found):
        yield ok(said)
        return
    heads = reports.failed_heads(connection)
    if heads is None or not explains_all(heads, found):
        yield warn(said, "Start a worker (relay run), or see relay status for what is in the way.")
    if heads is not None:
        yield _behind_failed(heads)


def is_old(found: reports.Status) -> bool:
    """Whether a message is due for too long; what is paused, or may be, waits for a person, not for a worker."""
    return found.oldest_free_seconds is not None and found.oldest_free_seconds > OLD_SECONDS


def explains_all(heads: reports.FailedHeads, found: reports.Status) -> bool:
    """Whether every message that is due without a pause is behind a failed one."""
    free = found.due - found.due_paused
    return heads.exact and found.exact and not found.due_perhaps_paused and heads.due == free


def _behind_failed(heads: reports.FailedHeads) -> Finding:
    least, first = "" if heads.exact else "at least ", heads.first
    said = (
        f"{least}{heads.due} due behind the failed message of their ordering key, of {least}{heads.keys} "
        f"key{'' if heads.keys == 1 else 's'}, and wait where workers have RELAY_ON_FAILED_HEAD=hold; "
        f"the first: message {first.id}, {first.error_code}"
    )
    hint = (
        f"Mend the cause, then relay retry {first.id} --reason ..., or relay discard {first.id} --reason ...; "
        "where workers do not hold, or none runs: relay run"
    )
    return warn(said, hint)


def far_times(connection: Connection, settings: Settings) -> Iterator[Finding]:
    """Milliseconds taken for seconds turn this year into the year 55000."""
    found = reports.status(connection)
    if far := reports.far_told(found):
        hint = "relay list --status pending shows them; relay discard, and insert them anew."
        yield warn(f"due in more than a year: {far}", hint)
    else:
        yield ok("none in more than a year")


def held(connection: Connection, settings: Settings) -> Iterator[Finding]:
    """Messages that wait for a person's decision: a warning, if there are any."""
    count = connection.scalar(statement(_HELD, settings.schema_name))
    if count:
        yield warn(f"{count} held until a person decides", "relay list --status held; then relay retry or discard")
    else:
        yield ok("none")


def limits(connection: Connection, settings: Settings) -> Iterator[Finding]:
    """Rows from before there were limits: they are sent as before."""
    count = connection.scalar(statement(_BEYOND, settings.schema_name))
    if count:
        hint = "They are sent as before, each by itself where it is large; relay list, then relay discard, ends them."
        yield warn(f"{count} pending messages are beyond a limit of today", hint)
    else:
        yield ok("no pending message that was looked at is beyond one")


def blocked_keys(connection: Connection, settings: Settings) -> Iterator[Finding]:
    """Blocked for long: its earliest message was tried and has not gone through since."""
    count, long = connection.execute(statement(_BLOCKED, settings.schema_name), {"old_seconds": OLD_SECONDS}).one()
    if long:
        hint = f"The view {quoted(settings.schema_name)}.blocked_keys lists them; relay show tells why the head waits."
        yield warn(f"{count}, of which {long} for more than {OLD_SECONDS} s", hint)
    else:
        yield ok(f"{count} wait for a retry or a later time" if count else "none")


def pauses(connection: Connection, settings: Settings) -> Iterator[Finding]:
    """The pauses in force, the first few by name, with their reasons masked; those of app keys by themselves.

    An app key holds up all accounts that have it. Which ones do, workers alone know: see ``relay.reports.app_keys``.
    """
    found = connection.execute(statement(_PAUSES, settings.schema_name)).all()
    if not found:
        yield ok("none")
    if apps := [row for row in found if row.scope.startswith("app:")]:
        perhaps = reports.waiting(connection, most=None).due_perhaps_paused
        yield _paused(apps, f"; every account that has such an app key waits: {perhaps} due messages may")
    if accounts := [row for row in found if not row.scope.startswith("app:")]:
        yield _paused(accounts)


def _paused(found: Sequence[Row[Any]], what_waits: str = "") -> Finding:
    named = [
        f"{row.scope} until {row.until.isoformat(' ', 'seconds') if row.until else 'resumed'}: {masked(row.reason)}"
        for row in found[:NAMED_PAUSES]
    ]
    more = [f"{len(found) - NAMED_PAUSES} more"] if len(found) > NAMED_PAUSES else []
    kinds = sorted({bool(row.for_a_credential) for row in found})
    return warn("; ".join(named + more) + what_waits, f"Mend the reason; {_WHAT_ENDS_THEM[tuple(kinds)]}")


def pace(connection: Connection, settings: Settings) -> Iterator[Finding]:
    """A login that may make calls may also put off those of everybody else."""
    far_seconds, rate = float(FAR_SECONDS), settings.rate_limit
    if rate:
        far_seconds = max(NEAR_SECONDS, min(FAR_SECONDS, QUEUED_BY_A_FLEET / rate), QUEUED_CALLS / rate)
    found = connection.execute(statement(_PACES, settings.schema_name), {"far_seconds": far_seconds}).all()
    if not found:
        last = connection.execute(statement(_NEXT, settings.schema_name)).one_or_none()
        yield ok("no app key waits long for its turn" + (_latest(last) if last else ""))
        return
    named = [
        f"the next call of the app key …{row.tail} is at {row.next_at.isoformat(' ', 'seconds')}, in "
        f"{row.seconds:.0f} s; the login {row.db_user or 'unknown'} moved it "
        + (f"by {row.step_seconds:.0f} s more than all others" if row.step_seconds is not None else "last")
        + (f", and at RELAY_RATE_LIMIT={rate:g} that is more calls than workers have waiting" if rate else "")
        for row in found[:NAMED_PAUSES]
    ]
    more = [f"{len(found) - NAMED_PAUSES} more"] if len(found) > NAMED_PAUSES else []
    remedy = _SOONER.format(schema=quoted(settings.schema_name), seconds=f"{far_seconds:.0f}")
    hint = f"Does a worker of that login have a low RELAY_RATE_LIMIT? If not, ask who has it; as the owner: {remedy}"
    yield warn("; ".join(named + more), hint)


def _latest(row: Row[Any]) -> str:
    keys = f"{row.keys} app key{' has' if row.keys == 1 else 's have'} a pace"
    since = row.next_at.isoformat(" ", "seconds")
    return f"; {keys}: …{row.tail} may call from {since} on, as the login {row.db_user or 'unknown'} left it"


def failed(connection: Connection, settings: Settings) -> Iterator[Finding]:
    """Messages that failed in the last hour, with the code that most have; a person discards with open eyes."""
    count, often = connection.execute(statement(_FAILED, settings.schema_name)).one()
    if count:
        hint = f"relay list --status failed --since 1h; relay explain {often}"
        yield warn(f"{count} in the last hour, most of them with {often}", hint)
    else:
        yield ok("none in the last hour")


def answers(connection: Connection, settings: Settings) -> Iterator[Finding]:
    """What the calls of the workers got; the probe of ``platform`` may fare better, or worse."""
    trouble = reports.trouble(connection)
    if trouble is None:
        yield ok("calls of the last minutes brought messages further, or there were none")
        return
    said = f"the last {trouble.calls} calls came to nothing, since {trouble.since.isoformat(' ', 'seconds')}"
    hint = f"Nothing fails by it for RELAY_OUTAGE_HOURS={settings.outage_hours:g}; relay explain {trouble.error_code}"
    yield warn(f"{said}; the last one: {trouble.error_code}: {trouble.error_message}", hint)


def open_calls(connection: Connection, settings: Settings) -> Iterator[Finding]:
    """Calls that no relay can have made, or too many of one login, are a failure; lapsed ones a warning."""
    unsound = connection.execute(statement(_UNSOUND, settings.schema_name)).all()
    if unsound:
        first = unsound[0]
        said = (
            f"{len(unsound)} that no relay made: call {first.id} of the worker {first.worker} "
            f"(login {first.created_by}) names no list of messages, each once"
        )
        hint = "It ends when its lease does, as relay.unsound_call. Ask who has that login."
        yield fail(said, hint)
    found = reports.open_calls(connection, LAPSED_SECONDS)
    if found.flood is not None:
        who = f"the login {found.flood.login}" if found.flood.login else "a version before 0008"
        said = (
            f"{found.flood.calls:,} by {who} name {found.flood.messages:,} messages: no relay has so many in flight, "
            "and every claim reads them all"
        )
        hint = (
            "Ask who has that login, and let it make no more: alter role ... nologin, pg_terminate_backend. Then, as "
            "the owner: update call set lease_until = now() where settled_at is null and created_by = 'that login'"
        )
        yield fail(said, hint)
    if found.lapsed and found.since is not None:
        since = found.since.isoformat(" ", "seconds")
        said = f"{found.lapsed} whose lease ran out, the oldest at {since}, and nobody settles them"
        yield warn(said, "Start a worker: relay run")
    else:
        yield ok(f"{found.flying} in flight" if found.flying else "none")
