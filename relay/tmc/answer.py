"""From an HTTP status and a body to what it means. Never raises, whatever the bytes; never accepts without proof.

What is in the body decides, not what was asked for and not the Content-Type (the platform calls its JSON javascript):

    error_response, or a code where the results should be    refused, by its code
    a result list or its flag, with HTTP 200                 answered, each index for itself (see reconcile.py)
    anything else with HTTP 200                              unknown: it may have been accepted
    any other HTTP status                                    by the status

A proof counts only in an HTTP 200. HTTP 500, 502, 504 and their unknown kin prove nothing: a proxy or a gateway gave
up on what stands behind it, and that may have done the work. Not even an error response with a provider's fault in it
changes this, while one that names a caller's mistake does: such calls are refused before any work.
"""

from __future__ import annotations

import json
from dataclasses import replace

from relay.message import Answered, Fault, Refused
from relay.tmc.codes import classify_call, classify_status, proves_nothing, quota_seconds, retry_after_seconds
from relay.tmc.fields import code_text, message_text, truth
from relay.tmc.reconcile import reconcile
from relay.tmc.xml import parse_xml

UNREADABLE = "relay.unreadable_answer"

Fields = dict[str, object]

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
) -> Answered | Refused:
    """``body`` is as received, uncompressed; ``count`` messages were sent in ``request_bytes``.

    ``unix_seconds`` is the time of the answer; without it neither a date in the header ``retry_after`` nor
    the end of a daily quota can be told.
    """
    fields = _fields(body)
    request_id = code_text(fields.get("request_id")) or None
    if _has_error(fields):
        refused = _refused_by_code(fields, status)
    elif status != 200:
        refused = _refused_by_status(status)
    elif any(name in fields for name in (*_RESULT_FIELDS, "request_id")):
        results, violation = reconcile(truth(fields.get("is_all_success")), fields.get("results"), count)
        return Answered(results, request_id, status, request_bytes, violation)
    else:
        refused = Refused(Fault.UNKNOWN, UNREADABLE, message="the body is no answer of the platform")
    if refused.fault is Fault.THROTTLED and refused.pause_seconds is None:
        named = retry_after_seconds(retry_after, unix_seconds)
        refused = replace(
            refused, pause_seconds=quota_seconds(refused.sub_code, unix_seconds) if named is None else named
        )
    return replace(refused, request_id=request_id, http_status=status, request_bytes=request_bytes)


def _fields(body: bytes) -> Fields:
    """The fields of the error or of the response, from under the root key, whatever that is called. Empty for rubbish.

    With ``simplify`` a response has no root key, an error keeps its own.
    """
    root = _document(body)
    error = root.get("error_response")
    if isinstance(error, dict):
        return error
    if any(name in root for name in (*_ERROR_FIELDS, *_RESULT_FIELDS)):
        return root
    return next((value for value in root.values() if isinstance(value, dict)), {})


def _document(body: bytes) -> Fields:
    text = body.decode("utf-8", "replace").strip("\ufeff \t\r\n")
    root: object
    try:
        # strict=False: the platform has been seen to leave line breaks raw inside JSON strings.
        root = parse_xml(text) if text.startswith("<") else json.loads(text, strict=False)
    except (ValueError, RecursionError):
        return {}
    return root if isinstance(root, dict) else {}


def _has_error(fields: Fields) -> bool:
    return any(code_text(fields.get(name)) for name in _ERROR_FIELDS)


def _refused_by_code(fields: Fields, status: int) -> Refused:
    code, sub_code = (code_text(fields.get(name)) for name in _ERROR_FIELDS)
    message = message_text(fields.get("msg"), fields.get("sub_msg"))
    fault, scope, pause_seconds = classify_call(code, sub_code, message or "")
    gave_up = fault is Fault.PROVIDER and proves_nothing(status)
    contradicts_itself = any(name in fields for name in _RESULT_FIELDS)
    if gave_up or contradicts_itself:
        fault, pause_seconds = Fault.UNKNOWN, None
    return Refused(fault, code or None, sub_code or None, message, scope=scope, pause_seconds=pause_seconds)


def _refused_by_status(status: int) -> Refused:
    fault, scope = classify_status(status)
    return Refused(
        fault, f"relay.http_{status}", message=f"HTTP {status} without an answer of the platform", scope=scope
    )
