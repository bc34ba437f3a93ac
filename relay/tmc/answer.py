"""From an HTTP status and a body to what it means. Never raises, whatever the bytes; never accepts without proof.

What is in the body decides, not what was asked for and not the Content-Type (the platform calls its JSON javascript):

    error_response, or a code where the results should be    refused, by its code
    a result list or its flag, with HTTP 200                 answered, each index for itself (see reconcile.py)
    anything else with HTTP 200                              unknown: it may have been accepted
    any other HTTP status                                    by the status

A proof counts only in an HTTP 200. HTTP 500, 502, 504 and others like them prove nothing: a proxy or a gateway gave
up on what stands behind it, and that may have done the work. Not even an error response with a provider's fault in it
changes this, while one that names a caller's mistake does: such calls are refused before any work.
"""

from __future__ import annotations

from dataclasses import replace

from relay.message import Answered, Fault, Refused
from relay.tmc.codes import (
    classify_call,
    classify_status,
    fresh_time_seconds,
    proves_nothing,
    quota_seconds,
    retry_after_seconds,
)
from relay.tmc.document import Fields, read_document
from relay.tmc.fields import code_text, message_text, truth, word_text
from relay.tmc.reconcile import reconcile
from relay.tmc.stranger import described

UNREADABLE = "relay.unreadable_answer"

_ERROR_FIELDS = ("code", "sub_code")
_RESULT_FIELDS = ("is_all_success", "results")


def read_answer(
    status: int,
    body: bytes,
    *,
    count: int,
    request_bytes: int,
    retry_after: str | None = None,
    unix_seconds: float | None = None,
    content_type: str | None = None,
) -> Answered | Refused:
    """``body`` is as received, uncompressed; ``count`` messages were sent in ``request_bytes``.

    ``content_type`` decides nothing; it helps to describe what is no answer.

    ``unix_seconds`` is the time of the answer; without it neither a date in the header ``retry_after`` nor
    the end of a daily quota can be told.
    """
    root, mended = read_document(body)
    fields = _fields(root)
    request_id = word_text(fields.get("request_id")) or word_text(root.get("request_id")) or None
    if _has_error(fields):
        refused = _refused_by_code(fields, root, status)
    elif status != 200:
        refused = _refused_by_status(status, described(body, content_type) if body else "")
    elif any(name in fields for name in (*_RESULT_FIELDS, "request_id")):
        results, violation = reconcile(truth(fields.get("is_all_success")), fields.get("results"), count, mended=mended)
        return Answered(results, request_id, status, request_bytes, violation)
    else:
        refused = Refused(Fault.UNKNOWN, UNREADABLE, message=described(body, content_type))
    if refused.fault is Fault.THROTTLED and refused.pause_seconds is None:
        named = retry_after_seconds(retry_after, unix_seconds)
        refused = replace(
            refused, pause_seconds=quota_seconds(refused.sub_code, unix_seconds) if named is None else named
        )
    elif refused.fault is Fault.OURS:
        refused = replace(refused, pause_seconds=fresh_time_seconds(refused.code, refused.sub_code))
    return replace(refused, request_id=request_id, http_status=status, request_bytes=request_bytes)


def _fields(root: Fields) -> Fields:
    """The fields of the error or of the response, from under the root key, whatever that is called. Empty for rubbish.

    With ``simplify`` a response has no root key, an error keeps its own.
    """
    error = root.get("error_response")
    if isinstance(error, dict):
        return error
    if any(name in root for name in (*_ERROR_FIELDS, *_RESULT_FIELDS)):
        return root
    return next((value for value in root.values() if isinstance(value, dict)), {})


def _has_error(fields: Fields) -> bool:
    return any(code_text(fields.get(name)) for name in _ERROR_FIELDS)


def _refused_by_code(fields: Fields, root: Fields, status: int) -> Refused:
    code, sub_code = (code_text(fields.get(name)) for name in _ERROR_FIELDS)
    message = message_text(fields.get("msg"), fields.get("sub_msg"))
    fault, scope, pause_seconds = classify_call(code, sub_code, message or "")
    gave_up = fault is Fault.PROVIDER and proves_nothing(status)
    parts = [fields, root, *(value for value in root.values() if isinstance(value, dict))]
    contradicts_itself = any(name in part for part in parts for name in _RESULT_FIELDS)
    if gave_up or contradicts_itself:
        fault, pause_seconds = Fault.UNKNOWN, None
    return Refused(fault, code or None, sub_code or None, message, scope=scope, pause_seconds=pause_seconds)


def _refused_by_status(status: int, body: str) -> Refused:
    fault, scope = classify_status(status)
    message = f"HTTP {status} without an answer of the platform" + (f": {body}" if body else "")
    return Refused(fault, f"relay.http_{status}", message=message, scope=scope)
