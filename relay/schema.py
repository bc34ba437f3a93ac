"""The tables as SQLAlchemy sees them, and beside each index the query that needs it.

The living description: statements and the mapped class are built on it. What creates the tables is the frozen DDL in
``revisions/``; a test compares both in the catalogue, partial predicates and checks included (Alembic sees neither).

Own ``MetaData`` and own PostgreSQL schema: the ``alembic check`` of a host application never sees these tables.
Another schema name is reached through SQLAlchemy's ``schema_translate_map``; ``relay`` is its token here.
There are no foreign keys: settling would pay a lookup and a row lock for each message, and rows leave in batches.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    ARRAY,
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import DOMAIN, JSON
from sqlalchemy.schema import SchemaItem
from sqlalchemy.types import TypeDecorator, UserDefinedType

from relay.sql import SCHEMA as SCHEMA

MAX_CONTENT_CHARACTERS = 122_880  # the limit printed for the single-message API; its element is the same
MAX_TOPIC_CHARACTERS = 256
# Of the other columns an insert may name, in UTF-8: the tables refuse more, relay.add does so before them.
MAX_BYTES = {
    "account": 256,
    "target_group": 256,
    "target_app_key": 256,
    "json_ex_content": 122_880,
    "ordering_key": 512,
    "dedupe_key": 512,
    "producer": 256,
    "headers": 16_384,
}
TOMBSTONE = '{"redacted": true}'  # what relay redact leaves of a content
# Of every time of a message: a day within the years 1 to 9999, which are all that most languages know, in every zone.
FIRST_TIME, END_OF_TIMES = datetime(1, 1, 2, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)

metadata = MetaData(schema=SCHEMA)


class _ExactlyWritten:
    """A type whose values are bound as ``write`` makes them: what may stand there is for those who insert to say."""

    write: Callable[[Any], Any] | None = None

    def bind_processor(self, dialect: Any) -> Callable[[Any], Any] | None:
        return self.write


class JSONText(_ExactlyWritten, TypeDecorator[Any]):
    """A json column written with the exact text given and read as Python values.

    The type ``json`` keeps the text letter for letter; ``jsonb`` would reorder keys and drop duplicates, and then what
    an auditor reads would not be what was sent.
    """

    impl = JSON
    cache_ok = True


class _Content(_ExactlyWritten, DOMAIN):
    """The same as a domain of PostgreSQL."""

    def adapt(self, cls: Any, **parameters: Any) -> Any:
        made = super().adapt(cls, **parameters)  # type: ignore[no-untyped-call]
        made.write = self.write
        return made


class Native(UserDefinedType[Any]):
    """A PostgreSQL type that SQLAlchemy has no class for."""

    cache_ok = True

    def __init__(self, name: str) -> None:
        self.name = name

    def get_col_spec(self, **_: Any) -> str:
        """The type as PostgreSQL writes it."""
        return self.name


# A domain, not a table check: a table check would parse the content again at every update of the row.
CONTENT = _Content(
    "content",
    JSON,
    check=text(f"json_typeof(value) = 'object' and length(value::text) <= {MAX_CONTENT_CHARACTERS}"),
    constraint_name="content_is_an_object_within_limit",
    metadata=metadata,
    schema=SCHEMA,
)

_now = text("now()")
_when = DateTime(timezone=True)

outbox = Table(
    "outbox",
    metadata,
    Column("id", BigInteger, Identity(always=True)),
    Column("topic", Text, nullable=False),
    Column("content", CONTENT, nullable=False),
    Column("account", Text, nullable=False, server_default="default"),
    Column("target_group", Text),
    Column("target_app_key", Text),
    Column("json_ex_content", JSONText),
    Column("ordering_key", Text),
    Column("dedupe_key", Text),
    Column("available_at", _when, nullable=False, server_default=_now),
    Column("deliver_before", _when),
    Column("producer", Text),
    Column("headers", JSONText),
    Column("status", Text, nullable=False, server_default="pending"),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("call_id", BigInteger),
    Column("result_index", SmallInteger),
    Column("error_code", Text),
    Column("error_message", Text),
    Column("created_at", _when, nullable=False, server_default=_now),
    Column("finished_at", _when),
    Column("created_by", Native("name"), nullable=False, server_default=text("session_user")),
    Column("created_xid", Native("xid8"), nullable=False, server_default=text("pg_current_xact_id()")),
    Column("content_sha256", LargeBinary, nullable=False),  # of the salt and the text at its insert, set by a trigger
    Column("content_salt", LargeBinary),  # empty: gone with the content; null: the hash is of the text alone
    PrimaryKeyConstraint("id", name="outbox_pkey"),
    # No checks here: what a row cannot be is looked at by its triggers (revisions/r0008_inserts), for a quarter less.
    # Claim, messages without an ordering key: account by account, due ones first. Waiting for a retry means a later
    # available_at, so waiting rows lie behind the due ones and cost nothing.
    Index(
        "outbox_due",
        "account",
        "available_at",
        "id",
        postgresql_where=text("status = 'pending' and ordering_key is null"),
    ),
    # Claim, messages with an ordering key: step from key to key and look at the head of each.
    Index(
        "outbox_heads",
        "account",
        "ordering_key",
        "id",
        postgresql_where=text("status = 'pending' and ordering_key is not null"),
    ),
    # Insert: a second message with the same key of one account is a no-op, also after delivery.
    Index(
        "outbox_dedupe",
        "account",
        "dedupe_key",
        unique=True,
        postgresql_where=text("dedupe_key is not null"),
    ),
    # status, list and retry by error: failed rows are few among many finished ones.
    Index("outbox_failed", "error_code", "id", postgresql_where=text("status = 'failed'")),
    # Claim, where a message that failed for good is to hold its ordering key.
    Index(
        "outbox_failed_heads",
        "account",
        "ordering_key",
        "id",
        postgresql_where=text("status = 'failed' and ordering_key is not null"),
    ),
    # Audit: what was inserted on a day.
    Index("outbox_created", "created_at", postgresql_using="brin", postgresql_with={"autosummarize": "on"}),
    # Settling changes each row once or twice: room on the page keeps the new version near the old one (less WAL).
    postgresql_with={"fillfactor": "60"},
)

call = Table(
    "call",
    metadata,
    Column("id", BigInteger, Identity(always=True)),
    Column("account", Text, nullable=False),
    Column("worker", Text, nullable=False),
    Column("message_ids", ARRAY(BigInteger), nullable=False),
    Column("parent_id", BigInteger),
    Column("claimed_at", _when, nullable=False, server_default=_now),
    Column("lease_until", _when, nullable=False),
    Column("sent_at", _when),
    Column("settled_at", _when),
    Column("outcome", Text),
    Column("http_status", SmallInteger),
    Column("request_id", Text),
    Column("error_code", Text),
    Column("sub_code", Text),
    Column("error_message", Text),
    Column("request_bytes", Integer),
    Column("duration_ms", Integer),
    Column("nonce", BigInteger, nullable=False, server_default=text("0")),  # the worker's; ids may be given out again
    Column("created_by", Text, server_default=text("session_user")),  # the login, which no worker can choose
    PrimaryKeyConstraint("id", name="call_pkey"),
    CheckConstraint("cardinality(message_ids) > 0", name="call_names_messages"),
    CheckConstraint("outcome in ('ok', 'partial', 'rejected', 'unknown', 'released')", name="call_outcome_known"),
    CheckConstraint("(settled_at is null) = (outcome is null)", name="call_settled_has_outcome"),
    # Claim: which messages are in an open call, from the oldest open one on; and which leases ran out.
    Index("call_open", "id", postgresql_where=text("settled_at is null")),
    # Audit: the platform's request id is the auditor's evidence.
    Index("call_request_id", "request_id", postgresql_where=text("request_id is not null")),
)

attempt = Table(
    "attempt",
    metadata,
    Column("message_id", BigInteger, nullable=False),
    Column("call_id", BigInteger, nullable=False),
    Column("result_index", SmallInteger, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("error_code", Text),
    Column("error_message", Text),
    Column("at", _when, nullable=False, server_default=_now),
    Column("retry_at", _when),
    # show, audit: the history of one message.
    PrimaryKeyConstraint("message_id", "call_id", name="attempt_pkey"),
    CheckConstraint("outcome in ('retry', 'failed', 'unknown')", name="attempt_outcome_known"),
    # Audit: what may have been delivered twice.
    Index("attempt_unknown", "at", "message_id", postgresql_where=text("outcome = 'unknown'")),
)


def _archive(of: Table, comment: str, key: tuple[str, ...], *more: SchemaItem) -> Table:
    """The same columns, without defaults, in partitions by when a message finished."""
    known = {"finished_at", "settled_at", "outcome"}  # of what is finished
    columns = [Column(c.name, c.type, nullable=c.nullable and c.name not in known) for c in of.c]
    if "finished_at" not in of.c:
        columns.append(Column("finished_at", _when, nullable=False))
    later = {"nonce", "created_by"} if of is call else set()  # than the archive
    columns.sort(key=lambda column: column.name in later)
    name = f"{of.name}_archive"
    primary = PrimaryKeyConstraint(*key, "finished_at", name=f"{name}_pkey")
    by_month = "RANGE (finished_at)"
    return Table(name, metadata, *columns, primary, *more, comment=comment, postgresql_partition_by=by_month)


# show, audit: one message, one call, wherever it is. Each partition has these indexes; there is one for each month.
outbox_archive = _archive(
    outbox,
    "Finished messages, by the month in which they finished (UTC) / 已结束的消息，按结束月份（UTC）分区",
    ("id",),
    # Audit: all of an order. Not in the outbox, where each settling would pay for it.
    Index("outbox_archive_keys", "ordering_key", postgresql_where=text("ordering_key is not null")),
    # Audit: what was delivered on a day.
    Index(
        "outbox_archive_finished",
        "finished_at",
        postgresql_using="brin",
        postgresql_with={"pages_per_range": "32", "autosummarize": "on"},
    ),
    # Audit: what failed.
    Index("outbox_archive_failed", "error_code", "id", postgresql_where=text("status = 'failed'")),
    # Audit: what was inserted on a day. The last range of a month is never summarized, so it had better be short.
    Index(
        "outbox_archive_created",
        "created_at",
        postgresql_using="brin",
        postgresql_with={"pages_per_range": "32", "autosummarize": "on"},
    ),
)
call_archive = _archive(
    call,
    "Their calls, by the month in which the last message finished / 相应的调用，按其最后一条消息的结束月份分区",
    ("id",),
    # Audit: the platform's request id is the auditor's evidence.
    Index("call_archive_request_id", "request_id", postgresql_where=text("request_id is not null")),
)
attempt_archive = _archive(
    attempt,
    "Their attempts, by the month in which the message finished / 相应的发送结果，按消息的结束月份分区",
    ("message_id", "call_id"),
    # Audit: what may have been delivered twice.
    Index("attempt_archive_unknown", "at", "message_id", postgresql_where=text("outcome = 'unknown'")),
)

pause = Table(
    "pause",
    metadata,
    Column("scope", Text, nullable=False),
    Column("until", _when),
    Column("reason", Text, nullable=False),
    Column("error_code", Text),
    # Which credential the platform refused (a fingerprint, never the secret): another one lifts the pause by itself.
    Column("credential", Text),
    Column("since", _when, nullable=False, server_default=text("clock_timestamp()")),
    Column("by", Text, nullable=False),
    Column("db_user", Native("name"), server_default=text("session_user")),  # ``by`` is what a worker calls itself
    PrimaryKeyConstraint("scope", name="pause_pkey"),
    CheckConstraint("scope ~ '^(account|app):.'", name="pause_scope_known"),
    CheckConstraint(
        "until >= cast('0001-01-02 00:00+00' as timestamptz) and until < cast('9999-12-31 00:00+00' as timestamptz)",
        name="pause_until_finite",
    ),
)

# What became of pauses, written by a trigger. No key: whatever comes twice is kept twice, and no pause fails for it.
pause_past = Table(
    "pause_past",
    metadata,
    Column("scope", Text, nullable=False),
    Column("until", _when),
    Column("reason", Text, nullable=False),
    Column("error_code", Text),
    Column("since", _when, nullable=False),
    Column("by", Text, nullable=False),
    Column("db_user", Native("name")),
    Column("ended_at", _when, nullable=False),
    Column("ended_by", Native("name"), nullable=False),
    Column("ended", Text, nullable=False),
    CheckConstraint("ended in ('by itself', 'lifted', 'replaced')", name="pause_past_ended_known"),
    # The dashboard: the latest first.
    Index("pause_past_ended", "ended_at"),
    comment="Pauses that ended or were replaced, written by a trigger / 已结束或被替换的暂停，由触发器写入",
)

pace = Table(
    "pace",
    metadata,
    Column("app_key", Text, nullable=False),
    Column("next_at", _when, nullable=False),
    # Who moved it furthest while it is more than a minute away, and by how much; else who called last.
    Column("db_user", Native("name"), server_default=text("session_user")),
    Column("step", Native("interval")),
    PrimaryKeyConstraint("app_key", name="pace_pkey"),
    postgresql_with={"fillfactor": "50"},
)

mask = Table(
    "mask",
    metadata,
    Column("topic", Text, nullable=False),  # or * for every topic
    Column("pointer", Text, nullable=False),  # a JSON pointer; a step * stands for every element of an array
    PrimaryKeyConstraint("topic", "pointer", name="mask_pkey"),
    CheckConstraint("pointer ~ '^(/|$)'", name="mask_pointer_begins_with_slash"),
)

action = Table(
    "action",
    metadata,
    Column("id", BigInteger, Identity(always=True)),
    Column("at", _when, nullable=False, server_default=text("clock_timestamp()")),  # of the act, not of its transaction
    Column("actor", Text, nullable=False),
    Column("db_user", Native("name"), nullable=False, server_default=text("session_user")),
    Column("action", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("selection", JSON),
    Column("message_ids", ARRAY(BigInteger)),
    Column("count", Integer, nullable=False),
    Column("created_xid", Native("xid8"), server_default=text("pg_current_xact_id()")),
    PrimaryKeyConstraint("id", name="action_pkey"),
    CheckConstraint(r"reason ~ '\S'", name="action_reason_given"),
)

dedupe = Table(
    "dedupe",
    metadata,
    Column("account", Text, nullable=False),
    Column("dedupe_key", Text, nullable=False),
    Column("message_id", BigInteger, nullable=False),
    Column("left_at", _when, nullable=False, server_default=_now),
    # Insert: a key whose message has left the outbox is known still.
    PrimaryKeyConstraint("account", "dedupe_key", name="dedupe_pkey"),
    # Prune: what left longest ago is forgotten first, where a setting says after how long.
    Index("dedupe_left", "left_at"),
    comment="Dedupe keys of messages that left the outbox / 已离开发件箱的消息的去重键",
)

# What a migration left to be done in small batches: relay migrate goes on with it.
catching_up = Table(
    "catching_up",
    metadata,
    Column("step", Text, nullable=False),
    Column("reached", BigInteger, nullable=False),
    Column("last", BigInteger, nullable=False),
    PrimaryKeyConstraint("step", name="catching_up_pkey"),
    comment="What a migration left to be done, up to which id / 迁移后尚待完成的步骤，及其截止编号",
)

# Empty for ever: locks for which it takes a right, unlike an advisory lock. Only functions of the owner take them.
archive_lock = Table("archive_lock", metadata)
ids_lock = Table("ids_lock", metadata)
naming_lock = Table("naming_lock", metadata)
