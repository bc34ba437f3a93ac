"""What a drain leaves to a person: the messages that nothing but a decision moves on, and who is to decide what."""

from __future__ import annotations

from relay.assembly.producers import explainers_of
from relay.errors import ConfigurationError, RelayError
from relay.explanations import lacks_permission
from relay.outcomes import LOST, NO_CREDENTIAL
from relay.showing import escaped, masked
from relay.store import Pause
from relay.worker import Report

_NAMED_PAUSES = 3


def why_left(report: Report, producer: str) -> RelayError:
    """Why a drain ended although messages are pending, and what ends that; ``producer`` knows the codes."""
    count = f"{report.left} message{'s are' if report.left > 1 else ' is'} left"
    endless = [pause for pause in report.pauses if pause.seconds_left is None]
    if not endless:
        return RelayError(f"{count}, held for a person to decide.", "See: relay list --status held")
    reasons = "; ".join(map(_told, endless[:_NAMED_PAUSES]))
    if (more := len(endless) - _NAMED_PAUSES) > 0:
        reasons += f"; {more} more pause{'s' if more > 1 else ''}"
    if refused := [pause for pause in endless if pause.fingerprint is not None]:
        return ConfigurationError(f"{count}. {reasons}.", _way_out(refused, producer))
    return RelayError(f"{count}. {reasons}.", "See: relay status")


def _way_out(refused: list[Pause], producer: str) -> str:
    """A right that is granted leaves the credential as it was, so nothing but a person ends that pause."""
    hints, explainers = [], explainers_of(producer)
    wrong = [pause for pause in refused if not lacks_permission(pause.error_code, *explainers)]
    if wrong and all(pause.fingerprint in (NO_CREDENTIAL, LOST) for pause in wrong):
        hints.append("Configure the credentials of these accounts: that ends the pause by itself.")
    elif wrong:
        hints.append("Correct the app key, secret or session of these accounts: that ends the pause by itself.")
    if len(wrong) < len(refused):
        hints.append("Grant the permission at the platform, then: relay resume --app KEY --reason ...")
    return " ".join(hints)


def _told(pause: Pause) -> str:
    code = f" ({pause.error_code})" if pause.error_code else ""  # a person gives no code
    return escaped(f"{_ended(pause.scope)} is paused: {masked(pause.reason)}{code}")


def _ended(scope: str) -> str:
    """An app key is shown by its end only."""
    kind, _, name = scope.partition(":")
    return f"{kind} …{name[-4:]}" if kind == "app" else scope
