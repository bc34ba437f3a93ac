"""From the result list of an answer to one result per index. Accepted only on proof; everything else is said aloud.

The platform promises results in request order and a flag for the whole, ``is_all_success``. What each index gets:

    the answer holds                                     index i is
    ─────────────────────────────────────────────────    ─────────────────────────────────────────────
    flag true, results absent, null, {} or []            accepted
    entry i, is_success true                             accepted (an error code beside it is filler of the documents)
    entry i, is_success false, flag true                 unproven: the answer contradicts itself
    entry i, is_success false, error code                refused, by its code
    entry i, is_success false, no code                   refused, relay.refused_without_code
    entry i, no is_success, error code                   as if is_success were false
    entry i, neither, or unreadable                      unproven
    no entry i in a list that has others                 unproven, even with flag true
    flag false or absent, no results                     unproven
    results that are no list at all                      unproven

Unproven is ``Fault.UNKNOWN`` with the code ``relay.unproven``: nobody can tell whether it was accepted.
"""

from __future__ import annotations

from relay.message import ACCEPTED, Fault, Result
from relay.tmc.codes import classify_result
from relay.tmc.fields import code_text, message_text, truth

UNPROVEN = Result(Fault.UNKNOWN, "relay.unproven", "the answer says nothing reliable about this index")


def reconcile(all_success: bool | None, results: object, count: int) -> tuple[tuple[Result, ...], str | None]:
    """Exactly ``count`` results, counted from 0, and how the answer broke the platform's contract, if it did."""
    entries = _entries(results)
    if entries is None:
        return (UNPROVEN,) * count, "results is no list"
    if not entries and all_success:
        return (ACCEPTED,) * count, None
    said = [_result(entry) for entry in entries[:count]]
    violation = _violation(all_success, said, len(entries), count)
    if all_success:
        said = [result if result.accepted else UNPROVEN for result in said]
    return (*said, *(UNPROVEN,) * (count - len(said))), violation


def _entries(results: object) -> list[object] | None:
    """The list in whichever wrapping: bare, under its element name, or a single object where a list has one element.

    Empty for absent, null, {} and an empty XML element. None for what cannot be a list.
    """
    if results is None or results == "":
        return []
    if isinstance(results, list):
        return results
    if not isinstance(results, dict):
        return None
    if "is_success" in results or "error_code" in results:
        return [results]
    wrapped = list(results.values())
    if len(wrapped) > 1:
        return None
    match wrapped:
        case [] | [None]:
            return []
        case [list() as entries]:
            return entries
        case [entry]:
            return [entry]
    return None


def _result(entry: object) -> Result:
    """What one entry says about its own index, without regard to the rest of the answer."""
    if not isinstance(entry, dict):
        return UNPROVEN
    success = truth(entry.get("is_success"))
    if success:
        return ACCEPTED
    silent = success is None and entry.get("is_success") is not None
    code = code_text(entry.get("error_code"))
    if silent or (success is None and not code):
        return UNPROVEN
    message = message_text(entry.get("error_message"))
    if not code:
        return Result(Fault.MESSAGE, "relay.refused_without_code", message)
    fault, pause_seconds = classify_result(code, message or "")
    return Result(fault, code, message, pause_seconds)


def _violation(all_success: bool | None, said: list[Result], entries: int, count: int) -> str | None:
    faults = []
    if entries != count:
        faults.append(f"{entries} results for {count} messages")
    if all_success is None:
        faults.append("is_all_success is missing")
    if all_success and not all(result.accepted for result in said):
        faults.append("is_all_success is true, a result is not")
    if all_success is False and entries == count and all(result.accepted for result in said):
        faults.append("is_all_success is false, every result is true")
    if any(result is UNPROVEN for result in said):
        faults.append("a result is unreadable")
    return "; ".join(faults) or None
