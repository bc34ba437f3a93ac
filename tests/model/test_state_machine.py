"""Any history of inserts, claims, answers, crashes and people: the promises hold after every step.

Hypothesis makes up the histories; the real store plays them on a real PostgreSQL. After each step the tables must be
what ``model.py`` says and keep what ``promises.py`` says; at the end of each history everything can still be delivered.
Transactions follow one another here; what happens between two statements of one is in the races of the integration
tests. ``--randomly-seed`` repeats a run.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from hypothesis import HealthCheck, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import Connection, Engine, text

from relay import operations
from relay.message import ACCEPTED, Answer, Answered, Batch, Fault, Refused, Result
from relay.outcomes import Policy, Settlement, decide, released
from relay.store import ClaimLimits, Store, Turn
from tests.model import promises
from tests.model.model import Call, Message, Model, Platform
from tests.model.promises import Tables

FAR_SECONDS = 3600.0  # no lease, delay or pause ends by itself while a history is played
NO_LIMIT = 1000
ACCOUNTS = st.sampled_from(["a", "b", "c"])
KEYS = st.sampled_from([None, None, "k1", "k2", "k3", "k4"])
WORKERS = st.integers(0, 2)
ORDER = operations.Order(actor="a person", reason="the test says so", selection={})

RESULTS = st.one_of(
    st.just(ACCEPTED),
    st.sampled_from(Fault).map(lambda fault: Result(fault, f"code.{fault.value}", "said", pause_seconds=FAR_SECONDS)),
)
REFUSALS = st.sampled_from(Fault).map(
    lambda fault: Refused(fault, code=f"code.{fault.value}", message="said", pause_seconds=FAR_SECONDS)
)


def answers(count: int) -> st.SearchStrategy[Answer]:
    """Any answer to a call of so many messages."""
    all_accepted = st.just(Answered((ACCEPTED,) * count))
    each = st.lists(RESULTS, min_size=count, max_size=count).map(lambda results: Answered(tuple(results)))
    return st.one_of(all_accepted, each, REFUSALS)


class Latest(random.Random):
    """The longest delay there can be, always."""

    def uniform(self, a: float, b: float) -> float:
        return b


class Finished(NamedTuple):
    """A call that one worker knows the end of. ``answer`` None: it was never made."""

    settlement: Settlement
    answer: Answer | None


@dataclass
class Worker:
    """What one process remembers."""

    name: str
    store: Store
    turn: Turn = field(default_factory=Turn)
    unsent: dict[int, Batch] = field(default_factory=dict)
    finished: dict[int, Finished] = field(default_factory=dict)

    def forget(self) -> None:
        self.turn = Turn()
        self.unsent.clear()
        self.finished.clear()


@dataclass
class Writing:
    """A transaction of an application that has not ended."""

    connection: Connection
    messages: list[Message]


class Relay(RuleBasedStateMachine):
    def __init__(self, engine: Engine) -> None:
        super().__init__()
        self.engine = engine
        self.reader = engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        self.run("truncate relay.outbox, relay.call, relay.attempt, relay.pause restart identity")
        self.platform = Platform()
        self.workers = [
            Worker(name, Store(engine, worker=name, lease_seconds=FAR_SECONDS)) for name in ("w0", "w1", "w2")
        ]
        self.writing: list[Writing] = []
        self.settled: list[tuple[Worker, Settlement]] = []  # written already, by whomever
        self.before = Tables(self.reader)

    @initialize(max_attempts=st.integers(1, 4), hold_unknown=st.booleans(), failed_holds=st.booleans())
    def a_fleet(self, max_attempts: int, hold_unknown: bool, failed_holds: bool) -> None:
        self.model = Model(max_attempts, hold_unknown, failed_holds)
        self.policy = Policy(max_attempts, FAR_SECONDS, FAR_SECONDS, hold_unknown)

    def run(self, sql: str, **parameters: object) -> None:
        self.reader.execute(text(sql), parameters)

    # Applications write.

    @rule(account=ACCOUNTS, keys=st.lists(KEYS, min_size=1, max_size=4), expiring=st.booleans(), data=st.data())
    def write(self, account: str, keys: list[str | None], expiring: bool, data: st.DataObject) -> None:
        writing = Writing(self.engine.connect(), [])
        for key in keys:
            id_ = self.insert(writing.connection, account, key, expiring)
            writing.messages.append(Message(id_, account, key, expires=expiring))
        self.writing.append(writing)
        if len(self.writing) > 2 or not data.draw(st.booleans(), "still writing"):
            self.end_of_writing(data)

    @precondition(lambda self: self.writing)
    @rule(data=st.data())
    def end_of_writing(self, data: st.DataObject) -> None:
        number = data.draw(st.integers(0, len(self.writing) - 1), "transaction")
        self.end(self.writing.pop(number), commit=data.draw(st.integers(0, 3), "commit") > 0)

    @staticmethod
    def insert(connection: Connection, account: str, key: str | None, expiring: bool) -> int:
        statement = """
            insert into relay.outbox (topic, content, account, ordering_key, deliver_before)
            values ('t', '{}', :account, :key, case when :expiring then now() + interval '1 hour' end) returning id
        """
        inserted = connection.execute(text(statement), {"account": account, "key": key, "expiring": expiring})
        return int(inserted.scalar_one())

    def end(self, writing: Writing, *, commit: bool) -> None:
        with writing.connection as connection:
            if commit:
                connection.commit()
                self.model.messages |= {message.id: message for message in writing.messages}

    # Workers work.

    @rule(number=WORKERS, slots=st.integers(1, 3), batch_size=st.integers(1, 5))
    def claim(self, number: int, slots: int, batch_size: int) -> None:
        self.claimed(self.workers[number], ClaimLimits(slots, batch_size, failed_holds=self.model.failed_holds))

    def claimed(self, worker: Worker, limits: ClaimLimits) -> bool:
        """Whether there is nothing more to be found."""
        claim = worker.store.claim(worker.turn, limits)
        failed = self.reader.scalars(text("select id from relay.outbox where error_code = 'relay.expired'"))
        expired = [id_ for id_ in failed if self.model.messages[id_].status == "pending"]
        assert len(expired) == claim.expired
        assert len(claim.batches) <= limits.slots
        assert all(len(batch) <= limits.batch_size for batch in claim.batches)
        self.model.claim(worker.name, claim.batches, expired)
        for writing in self.writing:  # it may turn out to come before what was just claimed
            earlier = [message for message in writing.messages if message.key is not None]
            named = [message for batch in claim.batches for message in batch.messages]
            assert not any(
                (one.account, one.key) == (other.account, other.ordering_key) and one.id < other.id
                for one in earlier
                for other in named
            )
        worker.turn = claim.turn
        worker.unsent |= {batch.call_id: batch for batch in claim.batches}
        return claim.exhausted

    def sendable(self) -> list[tuple[Worker, Batch]]:
        """A worker never starts a call whose lease may be over."""
        return [(w, batch) for w in self.workers for id_, batch in w.unsent.items() if not self.model.calls[id_].lapsed]

    @precondition(lambda self: self.sendable())
    @rule(data=st.data())
    def produce(self, data: st.DataObject) -> None:
        worker, batch = data.draw(st.sampled_from(self.sendable()), "call")
        answer = data.draw(answers(len(batch)), "answer")
        keeps = data.draw(st.lists(st.booleans(), min_size=len(batch), max_size=len(batch)), "keeps")
        self.produced(worker, batch, answer, keeps)

    def produced(self, worker: Worker, batch: Batch, answer: Answer, keeps: Sequence[bool]) -> None:
        self.platform.receive(batch, answer, keeps)
        self.model.calls[batch.call_id].sent = True
        del worker.unsent[batch.call_id]
        settlement = decide(batch, answer, self.policy, Latest())
        worker.finished[batch.call_id] = Finished(settlement, answer)

    @precondition(lambda self: any(worker.unsent for worker in self.workers))
    @rule(data=st.data())
    def give_back(self, data: st.DataObject) -> None:
        worker = data.draw(st.sampled_from([worker for worker in self.workers if worker.unsent]), "worker")
        call_id, batch = worker.unsent.popitem()
        worker.finished[call_id] = Finished(released(batch), None)

    @precondition(lambda self: any(worker.finished for worker in self.workers))
    @rule(data=st.data())
    def settle(self, data: st.DataObject) -> None:
        worker = data.draw(st.sampled_from([worker for worker in self.workers if worker.finished]), "worker")
        call_ids = data.draw(st.lists(st.sampled_from(sorted(worker.finished)), min_size=1, unique=True), "calls")
        self.settles(worker, call_ids)

    def settles(self, worker: Worker, call_ids: Sequence[int]) -> None:
        """Some of these calls may have been settled by others meanwhile: they are lost."""
        finished = {id_: worker.finished.pop(id_) for id_ in call_ids}
        ours = {id_ for id_ in call_ids if self.model.calls[id_].outcome is None}
        settled = worker.store.settle([each.settlement for each in finished.values()], {})
        assert settled.lost == set(call_ids) - ours
        children = list(settled.children)
        for id_ in sorted(ours, key=call_ids.index):
            call = self.model.calls[id_]
            if halves := self.model.settle(call, finished[id_].answer):
                self.model.split(call, worker.name, children[:halves])
                worker.unsent |= {child.call_id: child for child in children[:halves]}
                children = children[halves:]
        assert not children
        self.settled += [(worker, each.settlement) for each in finished.values()]

    @precondition(lambda self: self.settled)
    @rule(data=st.data())
    def settle_once_more(self, data: st.DataObject) -> None:
        worker, settlement = data.draw(st.sampled_from(self.settled), "settlement")
        settled = worker.store.settle([settlement], {})
        assert (settled.lost, settled.children) == ({settlement.call_id}, ())

    @precondition(lambda self: any(worker.unsent or worker.finished for worker in self.workers))
    @rule(number=WORKERS)
    def extend(self, number: int) -> None:
        worker = self.workers[number]
        call_ids = [*worker.unsent, *worker.finished]
        still_ours = {id_ for id_ in call_ids if self.model.calls[id_].outcome is None}
        assert worker.store.extend(call_ids) == still_ours
        for id_ in still_ours:
            self.model.calls[id_].lapsed = False

    # Workers die, time passes.

    @rule(number=WORKERS)
    def crash(self, number: int) -> None:
        self.workers[number].forget()

    @precondition(lambda self: self.model.open_calls())
    @rule(data=st.data())
    def leases_lapse(self, data: st.DataObject) -> None:
        open_calls = [call.id for call in self.model.open_calls()]
        self.lapse(data.draw(st.lists(st.sampled_from(open_calls), min_size=1, unique=True), "calls"))

    def lapse(self, call_ids: list[int]) -> None:
        self.run("update relay.call set lease_until = now() - interval '1 minute' where id = any (:ids)", ids=call_ids)
        for id_ in call_ids:
            self.model.calls[id_].lapsed = True

    @rule(number=WORKERS)
    def recover(self, number: int) -> None:
        lapsed = {call.id: call for call in self.model.open_calls() if call.lapsed}
        settlements = self.workers[number].store.recover(self.policy, Latest())
        assert {settlement.call_id for settlement in settlements} == lapsed.keys()
        for call in lapsed.values():
            self.model.lapse(call)

    @precondition(lambda self: self.waiting("later"))
    @rule()
    def retries_come_due(self) -> None:
        self.run("update relay.outbox set available_at = now() where status = 'pending' and available_at < 'infinity'")
        for message in self.waiting("later"):
            message.waits = "due"

    def waiting(self, how: str) -> list[Message]:
        return [m for m in self.model.messages.values() if (m.status, m.waits) == ("pending", how)]

    @precondition(lambda self: any(message.expires for message in self.model.messages.values()))
    @rule(account=ACCOUNTS)
    def deadlines_pass(self, account: str) -> None:
        expiring = [m for m in self.model.messages.values() if m.expires and m.account == account]
        ids = [message.id for message in expiring]
        self.run("update relay.outbox set deliver_before = now() where id = any (:ids)", ids=ids)
        for message in expiring:
            message.expires, message.expired = False, True

    # People step in.

    @rule(account=ACCOUNTS)
    def pause(self, account: str) -> None:
        with self.engine.begin() as connection:
            operations.pause(connection, f"account:{account}", ORDER, schema="relay")
        self.model.paused.add(account)

    @precondition(lambda self: self.model.paused)
    @rule(account=ACCOUNTS)
    def resume(self, account: str) -> None:
        with self.engine.begin() as connection:
            action = operations.resume(connection, f"account:{account}", ORDER, schema="relay")
        assert (action is not None) == (account in self.model.paused)
        self.model.paused.discard(account)

    @precondition(lambda self: self.model.messages)
    @rule(data=st.data())
    def retry(self, data: st.DataObject) -> None:
        ids = sorted(self.model.messages)
        self.retried(data.draw(st.lists(st.sampled_from(ids), min_size=1, max_size=8, unique=True), "messages"))

    def retried(self, ids: list[int]) -> None:
        with self.engine.begin() as connection:
            changed = operations.retry(connection, ids, ORDER, schema="relay").changed
        assert set(changed) == self.model.retry(ids)

    # What must be true.

    @invariant()
    def the_promises_hold(self) -> None:
        now, before, reordered = Tables(self.reader), self.before, self.model.reordered
        self.before = now
        promises.nothing_rolled_back_is_produced(now, self.platform)
        promises.done_only_on_proof(now, self.platform)
        promises.what_is_over_stays(before, now)
        promises.finished_rows_say_why(now)
        promises.nobody_holds_what_another_holds(now, reordered)
        sent = (call for call in self.model.open_calls() if call.sent)
        promises.duplicates_are_explained(now, self.platform, {id_ for call in sent for id_ in call.message_ids})
        promises.keys_are_accepted_in_order(now, self.platform, reordered)

    @invariant()
    def the_tables_are_as_expected(self) -> None:
        now, expected = self.before, self.model
        assert {id_: row[2:7] for id_, row in now.messages.items()} == {
            id_: (m.status, m.attempts, m.call_id, m.result_index, m.error_code) for id_, m in expected.messages.items()
        }
        assert {id_: row.waits for id_, row in now.messages.items() if row.status == "pending"} == {
            id_: m.waits for id_, m in expected.messages.items() if m.status == "pending"
        }
        assert {id_: row[:5] for id_, row in now.calls.items()} == {
            id_: (c.account, c.worker, c.message_ids, c.parent_id, c.outcome) for id_, c in expected.calls.items()
        }
        assert {key: tuple(row) for key, row in now.attempts.items()} == {
            key: (a.result_index, a.outcome, a.error_code, a.again) for key, a in expected.attempts.items()
        }

    # However it went, it can still end.

    def teardown(self) -> None:
        try:
            if sys.exception() is None:
                self.drain()
        finally:
            for writing in self.writing:
                writing.connection.close()
            self.reader.close()

    def drain(self) -> None:
        """The platform accepts everything, the workers were restarted, and a person sees to what waits for one."""
        while self.writing:
            self.end(self.writing.pop(), commit=True)
        for worker in self.workers:
            worker.forget()
        self.model.failed_holds = False
        self.lapse([call.id for call in self.model.open_calls()])
        self.recover(0)
        for account in sorted(self.model.paused):
            self.resume(account)
        for number in range(len(self.model.messages) + 1):
            self.retries_come_due()
            self.retried([message.id for message in self.waiting("held")])
            self.deliver_what_is_ready(self.workers[number % 3])
        self.the_promises_hold()
        self.the_tables_are_as_expected()
        assert {row.status for row in self.before.messages.values()} <= {"done", "failed"}
        assert self.before.in_flight() == []

    def deliver_what_is_ready(self, worker: Worker) -> None:
        worker.forget()
        while not self.claimed(worker, ClaimLimits(slots=2, batch_size=5)):
            for batch in list(worker.unsent.values()):
                self.produced(worker, batch, Answered((ACCEPTED,) * len(batch)), [])
            self.settles(worker, list(worker.finished))
        assert self.model.ready() == set(), "nothing is found any more, but something is ready"


def test_the_promises_hold_in_any_history(engine: Engine) -> None:
    @seed(random.getrandbits(64))
    def machine() -> Relay:
        return Relay(engine)

    run_state_machine_as_test(
        machine,  # type: ignore[arg-type]  # any callable that gives a machine will do
        settings=settings(
            max_examples=60, stateful_step_count=50, deadline=None, database=None, suppress_health_check=[*HealthCheck]
        ),
    )
