"""Which accounts a pause of an app key may hold up, as far as the tables tell.

No table has the app key of an account: credentials are outside of them, and a worker looks them up. But an account of
which calls were made since the app key was paused has another one. All others may be waiting for that, or not.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection

from relay.sql import run

NEWEST_CALLS = 1_000
# Workers heed a pause within a second, and use what they know of an account for five.
HEEDED_SECONDS = 10
# Scopes are account:NAME or app:KEY: in whatever order texts are, the latter come after 'ad'.
_SERVED = """
select array(
    select distinct account
    from (select account, claimed_at, sent_at from {schema}.read_call order by id desc limit <calls>) as newest
    where sent_at is not null and claimed_at > paused.since + interval '<seconds> s') as served
from (select max(since) as since from {schema}.read_pause
    where scope > 'ad' and starts_with(scope, 'app:') and (until is null or until > now())) as paused
where paused.since is not null
""".replace("<calls>", str(NEWEST_CALLS)).replace("<seconds>", str(HEEDED_SECONDS))


@dataclass(frozen=True, slots=True)
class AppKeys:
    """``paused``: whether any app key is. ``served``: accounts whose app key is not, for calls were made since."""

    paused: bool = False
    served: frozenset[str] = frozenset()

    def may_hold_up(self, account: str) -> bool:
        """Whether this account may have an app key that is paused."""
        return self.paused and account not in self.served


def app_keys(connection: Connection) -> AppKeys:
    """What is known now; of the calls the newest are looked at, and none where no app key is paused."""
    found = run(connection, _SERVED).one_or_none()
    return AppKeys() if found is None else AppKeys(True, frozenset(found.served))
