"""Any history of inserts, claims, answers, crashes and people: the promises hold after every step.

Hypothesis makes up the histories; the real store plays them on a real PostgreSQL. After each step the tables must be
what ``model.py`` says and keep what ``promises.py`` says, and at the end of each history all can still be delivered.
Transactions follow one another here; what happens between two statements of one is in the races of the integration
tests. ``--randomly-seed`` repeats a run.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, note, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from sqlalchemy import Connection, Engine, text

from relay.message import ACCEPTED, Answer, Answered, Batch, Fault, Refused, Result
from relay.operators import actions
from relay.operators.ledger import Order
from relay.outcomes import Policy, Settlement, decide, released
from relay.store import ClaimLimits, Settled, Store
from relay.store.claim.floors import Floors
from tests.fixtures.floors import Clock, resting_floors
from tests.model import promises
from tests.model.model import Message, Model, Platform
from tests.model.promises import Tables

FAR_SECONDS = 3600.0  # no lease, delay or pause ends by itself while a history is played
ACCOUNTS = ["a", "b", "c"]
KEYS = [None, None, "k1", "k2", "k3", "k4"]
ORDER = Order(actor="a person", reason="the test says so", selection={})

INSERT = """
insert into relay.outbox (topic, content, account, ordering_key, deliver_before)
values ('t', '{}', :account, :key, case when :expires then now() + interval '1 hour' end) returning id
"""
LAPSE = "update relay.call set lease_until = now() - interval '1 minute' where id = any (:ids)"
MAKE_DUE = "update relay.outbox set available_at = now() where status = 'pending' and available_at < 'infinity'"
LET_EXPIRE = "update relay.outbox set deliver_before = now() where id = any (:ids)"


def some_answer(count: int, rng: random.Random) -> Answer:
    """Any answer to a call of this many messages."""
    kind = rng.randrange(3)
    if kind == 0:
        return Answered((ACCEPTED,) * count)
    if kind == 1:
        return Answered(tuple(some_result(rng) for _ in range(count)))
    fault = rng.choice([*Fault, Fault.CONTENT])
    return Refused(fault, f"code.{fault.value}", message="said", pause_seconds=FAR_SECONDS)


def some_result(rng: random.Random) -> Result:
    fault = rng.choice(list(Fault))
    refused = Result(fault, f"code.{fault.value}", "said", pause_seconds=FAR_SECONDS)
    return rng.choice([ACCEPTED, refused])


def some_of(ids: Iterable[int], rng: random.Random) -> list[int]:
    """At least one of them, in any order."""
    known = list(ids)
    return rng.sample(known, rng.randint(1, len(known)))


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
    floors: Floors
    unsent: dict[int, Batch] = field(default_factory=dict)
    finished: dict[int, Finished] = field(default_factory=dict)

    def forget(self) -> None:
        self.unsent.clear()
        self.finished.clear()


@dataclass
class Writing:
    """A transaction of an application that has not ended."""

    connection: Connection
    messages: list[Message] = field(default_factory=list)


class Relay(RuleBasedStateMachine):
    """Three workers, a platform, and everybody around them."""

    def __init__(self, engine: Engine) -> None:
        super().__init__()
        self.engine = engine
        self.reader = engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        self.start_anew()
        self.platform = Platform()
        self.workers = [
            Worker(name, Store(engine, worker=name, lease_seconds=FAR_SECONDS, floors=floors), floors)
            # The last one believes that old snapshots fill the indexes with what is finished.
            for name, floors in (("w0", Floors()), ("w1", Floors()), ("w2", resting_floors(Clock())))
        ]
        self.writing: list[Writing] = []
        self.settled: list[Settlement] = []  # by whomever
        self.tables = Tables(self.reader)

    def start_anew(self) -> None:
        """Empty tables. Triggers keep the history from being removed, so they are off for that moment."""
        for switch in ("disable", "enable"):
            for table in ("outbox", "call", "attempt"):
                self.run(f"alter table relay.{table} {switch} trigger user")
            if switch == "disable":
                self.run("truncate relay.outbox, relay.call, relay.attempt, relay.pause restart identity")

    def run(self, sql: str, **parameters: object) -> None:
        self.reader.execute(text(sql), parameters)

    @initialize(max_attempts=st.integers(1, 4), hold_unknown=st.booleans(), failed_holds=st.booleans())
    def a_fleet(self, max_attempts: int, hold_unknown: bool, failed_holds: bool) -> None:
        self.model = Model(max_attempts, hold_unknown, failed_holds)
        self.policy = Policy(max_attempts, FAR_SECONDS, FAR_SECONDS, hold_unknown)

    @rule(rng=st.randoms(use_true_random=True))
    def step(self, rng: random.Random) -> None:
        """One transaction of somebody. Weighted, so that many calls are open and few histories stand still.

        Hypothesis chooses the seed of a step and nothing in it: choosing everything, it repeats itself too much.
        """
        weights = self.weights()
        (name,) = rng.choices(list(weights), list(weights.values()))
        note(name)
        getattr(self, name)(rng)

    def weights(self) -> dict[str, int]:
        """What can happen now, by the name of its method."""
        messages, open_calls = list(self.model.messages.values()), self.model.open_calls()
        return {
            "produce": 12 * bool(self.sendable()),
            "settle": 8 * any(worker.finished for worker in self.workers),
            "claim": 8 if self.model.ready() else 1,
            "write": 1 if len(messages) > 20 else 3,
            "end_of_writing": 2 * bool(self.writing),
            "give_back": any(worker.unsent for worker in self.workers),
            "settle_once_more": bool(self.settled),
            "extend": bool(open_calls),
            "crash": bool(open_calls),
            "leases_lapse": 3 * bool(open_calls),
            "recover": 6 * any(call.lapsed for call in open_calls),
            "retries_come_due": 6 * bool(self.waiting("later")),
            "deadlines_pass": any(message.expires for message in messages),
            "pause": bool(messages),
            "resume": 5 * bool(self.model.paused),
            "retry": 4 * (bool(self.waiting("held")) or any(message.status == "failed" for message in messages)),
        }

    # Applications write.

    def write(self, rng: random.Random) -> None:
        account, expires = rng.choice(ACCOUNTS), rng.random() < 0.2
        writing = Writing(self.engine.connect())
        self.writing.append(writing)
        for key in rng.choices(KEYS, k=rng.randint(1, 5)):
            parameters = {"account": account, "key": key, "expires": expires}
            id_ = writing.connection.execute(text(INSERT), parameters).scalar_one()
            writing.messages.append(Message(id_, account, key, expires=expires))
        if len(self.writing) > 2 or rng.random() < 0.6:
            self.end_of_writing(rng)

    def end_of_writing(self, rng: random.Random) -> None:
        self.end(self.writing.pop(rng.randrange(len(self.writing))), commit=rng.random() < 0.7)

    def end(self, writing: Writing, *, commit: bool) -> None:
        with writing.connection as connection:
            if commit:
                connection.commit()
                self.model.messages |= {message.id: message for message in writing.messages}

    # Workers work.

    def claim(self, rng: random.Random) -> None:
        worker = rng.choice(self.workers)
        slots, batch_size = rng.randint(1, 3), rng.randint(1, 5)
        self.claimed(worker, ClaimLimits(slots, batch_size, failed_holds=self.model.failed_holds))

    def claimed(self, worker: Worker, limits: ClaimLimits) -> bool:
        """Whether there is nothing more to be found."""
        worker.floors.open_from_is_old = True
        claim = worker.store.claim(limits)
        failed = self.reader.scalars(text("select id from relay.outbox where error_code = 'relay.expired'"))
        expired = [id_ for id_ in failed if self.model.messages[id_].status == "pending"]
        assert len(expired) == claim.expired
        assert len(claim.batches) <= limits.slots
        assert all(len(batch) <= limits.batch_size for batch in claim.batches)
        uncommitted = [message for writing in self.writing for message in writing.messages]
        self.model.claim(worker.name, claim.batches, expired, uncommitted)
        worker.unsent |= {batch.call_id: batch for batch in claim.batches}
        return claim.exhausted

    def sendable(self) -> list[tuple[Worker, Batch]]:
        """A worker never starts a call whose lease may be over."""
        return [(w, batch) for w in self.workers for id_, batch in w.unsent.items() if not self.model.calls[id_].lapsed]

    def produce(self, rng: random.Random) -> None:
        worker, batch = rng.choice(self.sendable())
        keeps = rng.choices([True, False], k=len(batch))
        self.produced(worker, batch, some_answer(len(batch), rng), keeps)

    def produced(self, worker: Worker, batch: Batch, answer: Answer, keeps: Sequence[bool]) -> None:
        self.platform.receive(batch, answer, keeps)
        self.model.calls[batch.call_id].sent = True
        del worker.unsent[batch.call_id]
        worker.finished[batch.call_id] = Finished(decide(batch, answer, self.policy, Latest()), answer)

    def give_back(self, rng: random.Random) -> None:
        worker = rng.choice([worker for worker in self.workers if worker.unsent])
        call_id, batch = worker.unsent.popitem()
        worker.finished[call_id] = Finished(released(batch), None)

    def settle(self, rng: random.Random) -> None:
        worker = rng.choice([worker for worker in self.workers if worker.finished])
        self.settles(worker, some_of(worker.finished, rng))

    def settles(self, worker: Worker, call_ids: Sequence[int]) -> None:
        """What others have settled meanwhile is lost."""
        finished = {id_: worker.finished.pop(id_) for id_ in call_ids}
        ours = [id_ for id_ in call_ids if self.model.calls[id_].outcome is None]
        settled = worker.store.settle([each.settlement for each in finished.values()], {})
        assert {call.id for call in settled.lost} == set(call_ids) - set(ours)
        worker.unsent |= {child.call_id: child for child in settled.children}
        children = iter(settled.children)
        for id_ in ours:
            if self.model.settle(id_, finished[id_].answer):
                self.model.split(id_, worker.name, [next(children), next(children)])
        assert not list(children)
        self.settled += [each.settlement for each in finished.values()]

    def settle_once_more(self, rng: random.Random) -> None:
        worker = rng.choice(self.workers)
        settlement = rng.choice(self.settled)
        settled = worker.store.settle([settlement], {})
        assert settled == Settled(lost=frozenset({settlement.key}), children=())

    def extend(self, rng: random.Random) -> None:
        worker = rng.choice(self.workers)
        calls = [batch.key for batch in worker.unsent.values()]
        calls += [each.settlement.key for each in worker.finished.values()]
        still_ours = {call for call in calls if self.model.calls[call.id].outcome is None}
        assert worker.store.extend(calls) == still_ours
        for call in still_ours:
            self.model.calls[call.id].lapsed = False

    # Workers die, time passes.

    def crash(self, rng: random.Random) -> None:
        rng.choice(self.workers).forget()

    def leases_lapse(self, rng: random.Random) -> None:
        self.lapse(some_of([call.id for call in self.model.open_calls()], rng))

    def lapse(self, call_ids: list[int]) -> None:
        self.run(LAPSE, ids=call_ids)
        for id_ in call_ids:
            self.model.calls[id_].lapsed = True

    def recover(self, rng: random.Random) -> None:
        self.recovered(rng.choice(self.workers))

    def recovered(self, worker: Worker) -> None:
        lapsed = {call.id for call in self.model.open_calls() if call.lapsed}
        assert {settlement.call_id for settlement in worker.store.recover(self.policy, Latest())} == lapsed
        for id_ in lapsed:
            self.model.lapse(id_)

    def retries_come_due(self, _rng: random.Random | None = None) -> None:
        self.run(MAKE_DUE)
        for message in self.waiting("later"):
            message.waits = "due"

    def waiting(self, how: str) -> list[Message]:
        return [m for m in self.model.messages.values() if (m.status, m.waits) == ("pending", how)]

    def deadlines_pass(self, rng: random.Random) -> None:
        ids = some_of((message.id for message in self.model.messages.values() if message.expires), rng)
        self.run(LET_EXPIRE, ids=ids)
        for message in (self.model.messages[id_] for id_ in ids):
            message.expires, message.expired = False, True

    # People step in.

    def pause(self, rng: random.Random) -> None:
        account = rng.choice(ACCOUNTS)
        with self.engine.begin() as connection:
            actions.pause(connection, f"account:{account}", ORDER)
        self.model.paused.add(account)

    def resume(self, rng: random.Random) -> None:
        self.resumed(rng.choice(sorted(self.model.paused)))

    def resumed(self, account: str) -> None:
        with self.engine.begin() as connection:
            assert actions.resume(connection, f"account:{account}", ORDER) is not None
        self.model.paused.remove(account)

    def retry(self, rng: random.Random) -> None:
        self.retried(some_of(self.model.messages, rng))

    def retried(self, ids: list[int]) -> None:
        with self.engine.begin() as connection:
            changed = actions.retry(connection, ids, ORDER).changed
        assert set(changed) == self.model.retry(ids)

    def discarded(self, ids: list[int]) -> None:
        """The way out for what is held and too late to be sent."""
        with self.engine.begin() as connection:
            assert set(actions.discard(connection, ids, ORDER).changed) == set(ids)
        for id_ in ids:
            self.model.messages[id_].fails("relay.discarded")

    # What must be true.

    @invariant()
    def the_promises_hold(self) -> None:
        before, now, reordered = self.tables, Tables(self.reader), self.model.reordered
        self.tables = now
        sent = [call for call in self.model.open_calls() if call.sent]
        promises.nothing_rolled_back_is_produced(now, self.platform)
        promises.done_only_on_proof(now, self.platform)
        promises.what_is_over_stays(before, now)
        promises.finished_rows_say_why(now)
        promises.nobody_holds_what_another_holds(now, reordered)
        promises.duplicates_are_explained(now, self.platform, {id_ for call in sent for id_ in call.message_ids})
        promises.keys_are_accepted_in_order(now, self.platform, reordered)

    @invariant()
    def the_tables_are_as_expected(self) -> None:
        now, model = self.tables, self.model
        assert {id_: (*row[2:7], row.status != "pending" or row.waits) for id_, row in now.messages.items()} == {
            id_: (m.status, m.attempts, m.call_id, m.result_index, m.error_code, m.status != "pending" or m.waits)
            for id_, m in model.messages.items()
        }
        assert {id_: row[:5] for id_, row in now.calls.items()} == {
            id_: (c.account, c.worker, c.message_ids, c.parent_id, c.outcome) for id_, c in model.calls.items()
        }
        assert now.attempts == model.attempts

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
        for account in sorted(self.model.paused):
            self.resumed(account)
        self.model.failed_holds = False
        self.lapse([call.id for call in self.model.open_calls()])
        self.recovered(self.workers[0])
        self.discarded([message.id for message in self.waiting("held") if message.expired])
        self.retried([message.id for message in self.waiting("held")])
        self.retries_come_due()
        self.deliver(self.workers[0])
        self.the_promises_hold()
        self.the_tables_are_as_expected()
        assert {row.status for row in self.tables.messages.values()} <= {"done", "failed"}
        assert self.tables.in_flight() == []

    def deliver(self, worker: Worker) -> None:
        worker.forget()
        while not self.claimed(worker, ClaimLimits(slots=2, batch_size=5)):
            for batch in list(worker.unsent.values()):
                self.produced(worker, batch, Answered((ACCEPTED,) * len(batch)), [])
            self.settles(worker, list(worker.finished))
        assert not self.model.ready(), "nothing more is found, but something is ready"


@pytest.mark.timeout(400)  # a history that fails is made shorter for up to five minutes
def test_the_promises_hold_in_any_history(engine: Engine) -> None:
    @seed(random.getrandbits(64))
    def relay() -> Relay:
        return Relay(engine)

    run_state_machine_as_test(
        relay,  # type: ignore[arg-type]  # whatever gives a machine will do
        settings=settings(
            max_examples=40, stateful_step_count=50, deadline=None, database=None, suppress_health_check=[*HealthCheck]
        ),
    )
