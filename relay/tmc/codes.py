"""What a code of the platform means: whose fault it is, whom it concerns, how long it lasts.

Decided by ``code`` and ``sub_code`` alone: the wording of messages differs between the documents and life. The one
thing read from a message is the length of a ban, which is written nowhere else.

    sub code       says
    isv.…          the caller is wrong
    isp.…          the provider is in trouble, later may do
    accesscontrol. too many calls; so does anything with limited-by- in it (older spellings had other beginnings)
    session…       the session is (these have no isv. before them)

**Time-outs are ambiguous.** An ``isp.…timeout`` says that the gateway stopped waiting for the service behind it, not
that the service did nothing: the messages may be published. The platform has no idempotency key to ask with. So these
are ``Fault.UNKNOWN``, where "provider" would promise that nothing was accepted. So are HTTP 500, 502 and 504.
"""

from __future__ import annotations

import re
from email.utils import parsedate_to_datetime

from relay.message import Fault, Scope

SECONDS_A_DAY = 86_400
_CHINA_OFFSET_SECONDS = 8 * 3600

_APP_THROTTLES = {"6", "7", "8"}
_ACCOUNT_THROTTLES = {"4", "5"}  # "User call limited", "Session call limited"
_APP_CREDENTIALS = {"2", "11", "12", "13", "25", "28", "29"}
_ACCOUNT_CREDENTIALS = {"26", "27", "42", "53"}
_OURS = {"9", "21", "22", "23", "24", "30", "31", "32", "33", "34", "45", "46", "47"}
_CONTENT = {"40", "41", "43"}

_BAN = re.compile(r"ban will last for (\d{1,9}) more second", re.IGNORECASE)


def classify_call(code: str, sub_code: str, sub_msg: str) -> tuple[Fault, Scope, float | None]:
    """For an ``error_response``: the fault, whom it concerns, and the seconds of a ban where one is named.

    What nobody has documented is judged by the prefix of the sub code, then by the code: those below 100 are checks of
    the platform, before any work. A code that says not even that proves nothing.
    """
    sub = sub_code.lower()
    if code in _ACCOUNT_THROTTLES:
        return Fault.THROTTLED, Scope.ACCOUNT, ban_seconds(sub_msg)
    if code in _APP_THROTTLES or _is_throttle(sub):
        return Fault.THROTTLED, Scope.APP, ban_seconds(sub_msg)
    if code in _ACCOUNT_CREDENTIALS or _is_session(sub):
        return Fault.CREDENTIALS, Scope.ACCOUNT, None
    if code in _APP_CREDENTIALS or sub.startswith(("isv.permission-", "isv.appkey-")):
        return Fault.CREDENTIALS, Scope.APP, None
    if code in _OURS:
        return Fault.OURS, Scope.APP, None
    if _is_timeout(sub):
        return Fault.UNKNOWN, Scope.ACCOUNT, None
    if code in _CONTENT or sub.startswith("isv."):
        return Fault.CONTENT, Scope.ACCOUNT, None
    if sub.startswith("isp.") or (code.isdecimal() and 0 < int(code) < 100):
        return Fault.PROVIDER, Scope.APP, None
    return Fault.UNKNOWN, Scope.ACCOUNT, None


def classify_result(error_code: str, error_message: str) -> tuple[Fault, float | None]:
    """For one index that was not accepted: the fault, and the seconds of a ban where one is named.

    No sub code of this method is documented, so the prefix decides; all that is not known to pass is the message's.
    """
    code = error_code.lower()
    if code in _APP_THROTTLES | _ACCOUNT_THROTTLES or _is_throttle(code):
        return Fault.THROTTLED, ban_seconds(error_message)
    if _is_session(code):
        return Fault.CREDENTIALS, None
    if _is_timeout(code):
        return Fault.UNKNOWN, None
    if code.startswith("isp."):
        return Fault.PROVIDER, None
    return Fault.MESSAGE, None


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


def quota_seconds(sub_code: str | None, unix_seconds: float | None) -> float | None:
    """Until the app's daily quota begins anew, where that is what was used up."""
    used_up = sub_code is not None and "limited-by-app-access-count" in sub_code.lower()
    return seconds_to_midnight_china(unix_seconds) if used_up and unix_seconds is not None else None


def seconds_to_midnight_china(unix_seconds: float) -> float:
    """More than 0, at most a day: ``limited-by-app-access-count``, an app's daily quota, ends at 00:00 +08:00."""
    return SECONDS_A_DAY - (unix_seconds + _CHINA_OFFSET_SECONDS) % SECONDS_A_DAY


def _is_throttle(sub: str) -> bool:
    return sub.startswith(("accesscontrol.", "isp.call-limited")) or "limited-by-" in sub


def _is_session(sub: str) -> bool:
    return sub.removeprefix("isv.").startswith(("session", "invalid-session"))


def _is_timeout(sub: str) -> bool:
    return sub.startswith("isp.") and "timeout" in sub
