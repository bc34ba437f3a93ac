"""What a code of the platform means: whose fault it is, whom it concerns, how long it lasts.

Decided by ``code`` and ``sub_code`` alone: the wording of messages differs between the documents and life. The one
thing read from a message is the length of a ban, which is written nowhere else.

    sub code       says
    isv.…          the caller is wrong
    isp.…          the provider is in trouble, later may do
    accesscontrol. too many calls; so does anything with limited-by- in it (older spellings had other beginnings)
    session…       the session is (these have no isv. before them)
    any other      with code 15 or 50: the service behind the gateway refused with a code of its own

**Could the service behind have done it?** "Provider" promises that nothing was accepted, and the platform has no
idempotency key to ask with. So only what says that the work was never begun is ``Fault.PROVIDER``: the gateway's own
refusals (codes below 100), a service that is not available, parameters refused. Every other ``isp.…`` (a time-out, a
connection that closed, an exception, an answer nobody could parse), a bare 15 or 50, HTTP 500, 502 and 504 may come
from a service that published first and failed then: ``Fault.UNKNOWN``. docs/outcomes.md has the question for each.
"""

from __future__ import annotations

import re
from email.utils import parsedate_to_datetime
from functools import lru_cache

from relay.message import Fault, Scope

SECONDS_A_DAY = 86_400
_CHINA_OFFSET_SECONDS = 8 * 3600

_APP_THROTTLES = {"6", "7", "8"}
_ACCOUNT_THROTTLES = {"4", "5"}  # "User call limited", "Session call limited"
_APP_CREDENTIALS = {"2", "11", "12", "13", "25", "28", "29"}
_ACCOUNT_CREDENTIALS = {"26", "27", "42", "53"}
_OURS = {"9", "21", "22", "23", "24", "30", "31", "32", "33", "34", "45", "46", "47"}
_CONTENT = {"40", "41", "43"}
_REMOTE = {"15", "50"}  # "Remote service error": the service behind the gateway was asked, and its sub code decides
_PROVES_NOTHING = {"1", "15", "44", "50", "52"}  # something failed, nobody says before or after the work

_PARAMETER = re.compile(r"isv\.(?:missing|invalid)-(?:parameters?|arguments?):\s*([\w-]+)")
_SESSION_PARAMETERS = {"session", "sessionkey", "session_key", "access_token"}
_OUR_PARAMETERS = {
    *("method", "app_key", "timestamp", "v", "version", "format", "sign", "sign_method", "simplify", "partner_id"),
}
_OUR_SUB_CODES = ("isv.request-replay", "isv.replayattack", "isv.timestamp-", "isv.invalid-timestamp")
_NO_PERMISSION = ("11", "12", "13")  # of the app, the user, the partner
FRESH_TIME_SECONDS = 5.0  # a call that was long on its way only needs a fresh time
_NEVER_BEGUN = re.compile(r"isp\.(?:.*-)?(?:unavailable|invalid-parameters?)(?:-tmall)?(?::.*)?")
_BROKE_DOWN = re.compile(r"error|exception|time-?out|timed|unknown|fail|system|busy|closed|reset|unavailable")
_LOOKED_AT_IT = re.compile(r"param|argument|invalid|illegal|missing|not.?exist|not.?found|denied|forbidden")

_BAN = re.compile(r"ban will last for (\d{1,9}) more second", re.IGNORECASE)


def classify_call(code: str, sub_code: str, sub_msg: str) -> tuple[Fault, Scope, float | None]:
    """For an ``error_response``: the fault, whom it concerns, and the seconds of a ban where one is named.

    What nobody has documented is judged by the prefix of the sub code, then by the code: those below 100 are checks of
    the platform, before any work. A code that says not even that proves nothing.
    """
    fault, scope = _classified(code, sub_code.lower())
    return fault, scope, ban_seconds(sub_msg) if fault is Fault.THROTTLED else None


@lru_cache(maxsize=256)  # a call whose messages are refused has the same few codes fifty times
def _classified(code: str, sub: str) -> tuple[Fault, Scope]:
    if code in _ACCOUNT_THROTTLES:
        return Fault.THROTTLED, Scope.ACCOUNT
    if code in _APP_THROTTLES or _is_throttle(sub):
        return Fault.THROTTLED, Scope.APP
    if code in _ACCOUNT_CREDENTIALS or _is_session(sub):
        return Fault.CREDENTIALS, Scope.ACCOUNT
    if code in _APP_CREDENTIALS or _is_app(sub):
        return Fault.CREDENTIALS, Scope.APP
    if code in _OURS or _is_ours(sub):
        return Fault.OURS, Scope.APP
    if sub.startswith("isp."):
        return (Fault.PROVIDER, Scope.APP) if _NEVER_BEGUN.fullmatch(sub) else (Fault.UNKNOWN, Scope.ACCOUNT)
    if code in _CONTENT or sub.startswith("isv.") or (code in _REMOTE and _is_business(sub)):
        return Fault.CONTENT, Scope.ACCOUNT
    if code.isdecimal() and 0 < int(code) < 100 and code not in _PROVES_NOTHING and not _BROKE_DOWN.search(sub):
        return Fault.PROVIDER, Scope.APP
    return Fault.UNKNOWN, Scope.ACCOUNT


def classify_result(error_code: str, error_message: str) -> tuple[Fault, Scope, float | None]:
    """For one index that was not accepted: the same three.

    A number below 100 and a code that is known to concern the session, the app or the request mean what they mean for
    a call. All else that is not known to pass is the message's: no sub code of this method is documented.
    """
    sub = error_code.lower()
    if error_code.isdecimal():
        known = 0 < int(error_code) < 100
        return classify_call(error_code, "", error_message) if known else (Fault.MESSAGE, Scope.ACCOUNT, None)
    fault, scope, seconds = classify_call("", error_code, error_message)
    if fault is Fault.CONTENT or (fault is Fault.UNKNOWN and not sub.startswith("isp.")):
        return Fault.MESSAGE, Scope.ACCOUNT, None
    return fault, scope, seconds


def classify_status(status: int) -> tuple[Fault, Scope]:
    """For an HTTP status other than 200 whose body explains nothing."""
    if status == 429:
        return Fault.THROTTLED, Scope.APP
    if status == 413:
        return Fault.CONTENT, Scope.ACCOUNT
    if status < 300 or proves_nothing(status):
        return Fault.UNKNOWN, Scope.ACCOUNT
    return Fault.PROVIDER, Scope.APP


def proves_nothing(status: int) -> bool:
    """HTTP 5xx, but for 503: that one says that the request was turned away at the door."""
    return status >= 500 and status != 503


def ban_seconds(text: str) -> float | None:
    """The N of "This ban will last for N more seconds". At most a day: every quota starts anew at midnight."""
    found = _BAN.search(text)
    return float(min(int(found[1]), SECONDS_A_DAY)) if found else None


def retry_after_seconds(header: str | None, unix_seconds: float | None) -> float | None:
    """Seconds named by a ``Retry-After`` header, a number or a date; 0 to a day; None where it names neither.

    Without ``unix_seconds``, the time of the answer, a date says nothing.
    """
    value = (header or "").strip()
    if value.isascii() and value.isdigit():
        return float(min(int(value[:9]), SECONDS_A_DAY))
    if unix_seconds is None:
        return None
    try:
        until = parsedate_to_datetime(value).timestamp()
    except (ValueError, OverflowError):
        return None
    return min(max(until - unix_seconds, 0.0), float(SECONDS_A_DAY))


def fresh_time_seconds(*codes: str | None) -> float | None:
    """Where a request was refused for when it was signed: the next one, signed anew, may pass."""
    said = any(code == "31" or (code or "").lower().startswith(_OUR_SUB_CODES) for code in codes)
    return FRESH_TIME_SECONDS if said else None


def lacks_permission(code: str | None) -> bool:
    """Whether this code is about a right of the app: the credential was good, another one is no cure."""
    return code in _NO_PERMISSION or (code or "").startswith("isv.permission-")


def quota_seconds(sub_code: str | None, unix_seconds: float | None) -> float | None:
    """Until the app's daily quota begins anew, where that is what was used up."""
    used_up = sub_code is not None and "limited-by-app-access-count" in sub_code.lower()
    return seconds_to_midnight_china(unix_seconds) if used_up and unix_seconds is not None else None


def seconds_to_midnight_china(unix_seconds: float) -> float:
    """More than 0, at most a day: ``limited-by-app-access-count``, an app's daily quota, ends at 00:00 +08:00."""
    return SECONDS_A_DAY - (unix_seconds + _CHINA_OFFSET_SECONDS) % SECONDS_A_DAY


def _is_throttle(sub: str) -> bool:
    return sub.startswith("accesscontrol.") or "limited-by-" in sub or "call-limited" in sub


def _is_session(sub: str) -> bool:
    """The session itself, by whatever name; a message's own field that only has the word in it is none."""
    if sub.startswith("isv.w2-security-authorize"):
        return True
    parameter = _PARAMETER.match(sub)
    if parameter:
        return parameter[1] in _SESSION_PARAMETERS
    name = sub.partition(":")[0].removeprefix("isv.")
    return bool(re.match(r"(?:invalid-|missing-)?(?:persistent-)?session", name))


def _is_app(sub: str) -> bool:
    return sub.startswith(("isv.permission-", "isv.appkey-", "isv.invalid-appkey", "isv.invalid-app-key"))


def _is_ours(sub: str) -> bool:
    """What no message has a say in: the public parameters, their sign and their time."""
    parameter = _PARAMETER.match(sub)
    if parameter:
        return parameter[1] in _OUR_PARAMETERS
    return sub.startswith((*_OUR_SUB_CODES, "isv.invalid-signature", "isv.missing-signature"))


def _is_business(sub: str) -> bool:
    """A code of the service's own, such as CD01: it has looked at the messages and refused. A breakdown is none."""
    return bool(sub) and (not _BROKE_DOWN.search(sub) or bool(_LOOKED_AT_IT.search(sub)))
