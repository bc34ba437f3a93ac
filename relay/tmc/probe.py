"""The platform's answer to a call that asks for nothing: does it accept key, secret and session?

The call is signed like any other and has no messages, so nothing is published. The platform judges the credentials
before the arguments: that the argument ``messages`` is missing is the answer that is hoped for, and the only one that
proves anything about the session. Another refusal of the arguments may come from before it was looked at.
"""

from __future__ import annotations

import re

from relay.findings import Finding, fail, ok, warn
from relay.message import Answer, Answered, Fault, Refused
from relay.showing import masked

_MESSAGES_MISSING = re.compile(r"(?:arguments?|parameters?)\s*:\s*messages\b", re.IGNORECASE)


def judged(answer: Answer, account: str) -> Finding:
    """What the answer to a probe says about the credentials of this account."""
    if isinstance(answer, Answered):
        return warn(
            "the platform accepted a call without messages, which it should refuse with code 40",
            "Check RELAY_TMC_URL: is it the platform?",
        )
    said = f"{answer.sub_code or answer.code}: {masked(answer.message or '')}"
    hint = f"relay explain {answer.sub_code or answer.code}"
    match answer.fault:
        case Fault.CONTENT if _misses_the_messages(answer):
            return ok(f"accepts key, secret and session of the account {account}")
        case Fault.CONTENT:
            return warn(f"answers, but says nothing of the session of the account {account}: {said}", hint)
        case Fault.THROTTLED:
            return warn(f"answers, but makes the account {account} wait: {said}", hint)
        case Fault.CREDENTIALS:
            return fail(f"refuses the credentials of the account {account}: {said}", hint)
        case Fault.PROVIDER | Fault.UNKNOWN:
            return fail(
                f"gives no answer: {said}",
                "Check RELAY_TMC_URL, proxies and the way out of this network: docs/network.md.",
            )
        case _:
            return fail(f"cannot read our requests: {said}", hint)


def _misses_the_messages(answer: Refused) -> bool:
    """Code 40, or its sub code, with the name of the argument that was left out."""
    missing = answer.code == "40" or (answer.sub_code or "").lower().startswith("isv.missing-parameter")
    return missing and bool(_MESSAGES_MISSING.search(f"{answer.sub_code} {answer.message}"))
