"""The wire of the Taobao Open Platform (TOP) for one method, ``taobao.tmc.messages.produce``, as pure functions.

    Credential + messages ── request_body ──> bytes of a form, signed
    HTTP status + body    ── read_answer  ──> Answered | Refused

Nothing here opens a connection, looks at a table, at the environment or at a clock. A platform may answer anything
at all: reading an answer never raises, and what an answer does not prove is ``Fault.UNKNOWN``, never accepted.
"""

from __future__ import annotations

from relay.tmc.answer import read_answer
from relay.tmc.request import request_body

__all__ = ["read_answer", "request_body"]
