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
    flag true, as many entries as were sent, and none    accepted: the flag is the platform's word for all of them,
      of them says anything                                and a list of nothing takes nothing back
    entry i, neither, or unreadable                      unproven
    no entry i in a list that has others                 unproven, even with flag true
    flag false or absent, no results                     unproven
    results that are no list at all                      unproven

An entry says nothing when it is null, {}, an empty element, or has neither flag nor code nor message. To take a whole
list of such entries for doubt would send every message again, up to the last attempt, because of an answer that says
that all of them arrived.

Unproven is ``Fault.UNKNOWN`` with the code ``relay.unproven``: nobody can tell whether it was accepted.
"""

from __future__ import annotations

from relay.message import ACCEPTED, Fault, Result
from relay.tmc.codes import classify_result, fresh_time_seconds
from relay.tmc.fields import code_text, message_text, truth

UNPROVEN = Result(Fault.UNKNOWN, "relay.unproven", "the answer says nothing reliable about this index")


def reconcile(
    all_success: bool | None, results: object, count: int, *, mended: bool = False
) -> tuple[tuple[Result, ...], str | None]:
    """Exactly ``count`` results, counted from 0, and how the answer broke the platform's contract, if it did.

    ``mended``: the document was malformed. Its list counts only with as many entries as were sent: what escaped from a
    text may be an entry of its own, and would move those after it to the index of another message.
    """
    entries = _entries(results)
    if entries is None:
        return (UNPROVEN,) * count, "results is no list"
    malformed = ["the document was malformed and is mended"] if mended else []
    if not entries and all_success:
        return (ACCEPTED,) * count, _joined(malformed)
    if mended and len(entries) != count:
        return (UNPROVEN,) * count, _joined([*malformed, f"{len(entries)} results for {count} messages"])
    said = [_result(entry) for entry in entries[:count]]
    violation = _joined([*malformed, *_violations(all_success, said, len(entries), count)])
    if all_success:
        vouched = len(entries) == count and ACCEPTED not in said and all(map(_says_nothing, entries))
        said = [ACCEPTED if vouched or result is ACCEPTED else UNPROVEN for result in said]
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
    # Beside the list there may be words about it, such as a count; a second list would be another answer.
    beside = [value for value in results.values() if not isinstance(value, list | dict)]
    match [value for value in results.values() if isinstance(value, list | dict)]:
        case []:
            return [] if all(value in (None, "") or isinstance(value, int) for value in beside) else None
        case [list() as entries]:
            return entries
        case [dict() as entry]:
            return [entry] if entry else []
    return None


def _says_nothing(entry: object) -> bool:
    if isinstance(entry, dict):
        return all(entry.get(name) in (None, "") for name in ("is_success", "error_code", "error_message"))
    return entry is None or entry == ""


def _result(entry: object) -> Result:
    """What one entry says about its own index, without regard to the rest of the answer."""
    if not isinstance(entry, dict):
        return UNPROVEN
    flag = entry.get("is_success")
    success = flag if isinstance(flag, bool) else truth(flag)  # a call less for each message
    if success:
        return ACCEPTED
    silent = success is None and flag is not None
    code = code_text(entry.get("error_code"))
    if silent or (success is None and not code):
        return UNPROVEN
    message = message_text(entry.get("error_message"))
    if not code:
        return Result(Fault.MESSAGE, "relay.refused_without_code", message)
    fault, scope, pause_seconds = classify_result(code, message or "")
    if fault is Fault.OURS:
        pause_seconds = fresh_time_seconds(code)
    return Result(fault, code, message, pause_seconds, scope)


def _violations(all_success: bool | None, said: list[Result], entries: int, count: int) -> list[str]:
    faults = []
    all_accepted = all(result is ACCEPTED for result in said)  # the only one that _result gives for it
    if entries != count:
        faults.append(f"{entries} results for {count} messages")
    if all_success is None:
        faults.append("is_all_success is missing")
    if all_success and not all_accepted:
        faults.append("is_all_success is true, a result is not")
    if all_success is False and entries == count and all_accepted:
        faults.append("is_all_success is false, every result is true")
    if any(result is UNPROVEN for result in said):
        faults.append("a result says nothing that can be read")
    return faults


def _joined(faults: list[str]) -> str | None:
    return "; ".join(faults) or None
