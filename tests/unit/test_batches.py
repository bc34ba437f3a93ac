"""Which messages go together: one account a batch, accounts in turn, within the limits of one call."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from relay.message import Message
from relay.store import CallLimits
from relay.store.claim.batches import cut_batches

ROOMY = 10**9


def message(id_: int, account: str = "a", size: int = 10) -> Message:
    made = Message(id_, "t", "x" * (size - 1), account=account)
    assert made.size_bytes == size
    return made


def ready(account: str, place: int, ids: range, size: int = 10) -> list[tuple[int, Message]]:
    return [(place, message(id_, account, size)) for id_ in ids]


def each(batch_size: int, max_bytes: int) -> Callable[[str], CallLimits]:
    return lambda _account: CallLimits(batch_size, max_bytes)


def ids_of(batches: list[list[Message]]) -> list[list[int]]:
    return [[message.id for message in batch] for batch in batches]


def test_nothing_ready_is_no_batch() -> None:
    assert cut_batches([], slots=8, limits_of=each(50, ROOMY)) == ([], None)


def test_full_batches_oldest_first_whatever_order_they_were_found_in() -> None:
    found = list(reversed(ready("a", 1, range(1, 6))))
    batches, left_out = cut_batches(found, slots=8, limits_of=each(2, ROOMY))
    assert (ids_of(batches), left_out) == ([[1, 2], [3, 4], [5]], None)


def test_every_account_gets_its_first_batch_before_any_gets_a_second() -> None:
    found = ready("greedy", 1, range(1, 7)) + ready("b", 2, range(10, 12)) + ready("c", 3, range(20, 21))
    batches, left_out = cut_batches(found, slots=4, limits_of=each(2, ROOMY))
    assert (ids_of(batches), left_out) == ([[1, 2], [10, 11], [20], [3, 4]], None)


def test_the_place_in_the_turn_decides_not_the_name() -> None:
    found = ready("a", 2, range(1, 2)) + ready("z", 1, range(2, 3))
    assert ids_of(cut_batches(found, slots=1, limits_of=each(50, ROOMY))[0]) == [[2]]


def test_the_first_account_without_a_slot_is_named() -> None:
    found = ready("a", 1, range(1, 4)) + ready("b", 2, range(4, 6)) + ready("c", 3, range(6, 7))
    batches, left_out = cut_batches(found, slots=1, limits_of=each(2, ROOMY))
    assert (ids_of(batches), left_out) == ([[1, 2]], "b")


def test_an_account_that_lacks_its_second_batch_only_is_not_left_out() -> None:
    found = ready("a", 1, range(1, 4)) + ready("b", 2, range(4, 6))
    assert cut_batches(found, slots=2, limits_of=each(2, ROOMY))[1] is None


def test_bytes_end_a_batch_and_a_giant_travels_alone() -> None:
    sizes = [40, 40, 40, 500, 10, 90, 1]
    found = [(1, message(number, size=size)) for number, size in enumerate(sizes, start=1)]
    batches, _ = cut_batches(found, slots=8, limits_of=each(50, 100))
    assert ids_of(batches) == [[1, 2], [3], [4], [5, 6], [7]]


def test_a_batch_is_filled_to_the_last_byte() -> None:
    found = [(1, message(number, size=50)) for number in (1, 2, 3)]
    assert ids_of(cut_batches(found, slots=8, limits_of=each(50, 100))[0]) == [[1, 2], [3]]


def test_bytes_are_those_of_utf8_of_content_topic_and_extra() -> None:
    assert Message(1, "tü", '{"a":"退款"}', json_ex_content="{}").size_bytes == 3 + 14 + 2


def test_a_batch_that_is_not_full_waits_for_company_while_all_of_it_may() -> None:
    found = ready("a", 1, range(1, 4))
    both = frozenset({2, 3})
    assert ids_of(cut_batches(found, slots=8, limits_of=each(2, ROOMY), may_wait=both)[0]) == [[1, 2]]
    assert ids_of(cut_batches(found[:2], slots=8, limits_of=each(2, ROOMY), may_wait=both)[0]) == [[1, 2]]
    assert ids_of(cut_batches(found, slots=8, limits_of=each(50, ROOMY), may_wait=both)[0]) == [[1, 2, 3]]


@given(
    st.lists(st.tuples(st.integers(1, 5), st.integers(1, 60)), max_size=60),
    st.integers(1, 8),
    st.integers(1, 50),
    st.integers(1, 200),
)
def test_no_message_is_lost_doubled_or_mixed(
    found: list[tuple[int, int]], slots: int, batch_size: int, max_bytes: int
) -> None:
    messages = [(place, message(id_, f"account{place}", 1 + size)) for id_, (place, size) in enumerate(found, 1)]
    of = {f"account{place}": CallLimits(max(1, batch_size // place), max_bytes // place) for place in range(1, 6)}
    batches, left_out = cut_batches(messages, slots=slots, limits_of=of.__getitem__)
    named = [each.id for batch in batches for each in batch]
    assert len(named) == len(set(named))
    assert len(batches) <= slots
    for batch in batches:
        assert len({each.account for each in batch}) == 1
        limits = of[batch[0].account]
        assert 1 <= len(batch) <= limits.batch_size
        assert len(batch) == 1 or sum(each.size_bytes for each in batch) <= limits.max_bytes
    if len(batches) < slots:
        assert sorted(named) == [each.id for _, each in messages]
    served = {batch[0].account for batch in batches}
    unserved = {each.account for _, each in messages} - served
    assert (left_out is None) == (not unserved)
    assert left_out is None or left_out == min(unserved)
