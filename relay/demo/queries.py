"""The questions of an auditor, each with the SQL that answers it. They read the tables and nothing else."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Question:
    """``sql`` may name ``:message``, a message id."""

    question: str
    sql: str


QUERIES = (
    Question("How did the messages end?", "select status, count(*) from relay.outbox group by status order by status"),
    Question(
        "What failed, why, and what does the platform call that request?",
        """\
select o.id, o.error_code, o.error_message, c.request_id
from relay.outbox o join relay.call c on c.id = o.call_id
where o.status = 'failed' order by o.id""",
    ),
    Question(
        "Which call delivered message :message, at which index, and what else was in it?",
        """\
select c.id as call, o.result_index as index, c.request_id, c.message_ids
from relay.outbox o join relay.call c on c.id = o.call_id
where o.id = :message""",
    ),
    Question(
        "What may have been delivered twice, because a call got no answer?",
        """\
select c.id as call, c.error_code, count(*) as messages,
    min(a.message_id) as first, max(a.message_id) as last
from relay.attempt a join relay.call c on c.id = a.call_id
where a.outcome = 'unknown' group by c.id order by c.id""",
    ),
    Question(
        "When did the platform ask us to stay away?",
        """\
select scope, round(extract(epoch from until - since), 1) as seconds, error_code, by as worker
from relay.pause order by since""",
    ),
)
