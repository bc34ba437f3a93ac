"""Names of accounts that look like another one: by a sign that nobody sees, or by a blank.

The tables refuse most such signs (revision 0008); what was inserted before is still there, and blanks and joiners are
legal. In every list two such accounts look the same, and one of them has no credentials.
"""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Connection

from relay.checks import Finding, ok, warn
from relay.settings import Settings
from relay.showing import as_it_looks, json_text
from relay.sql import statement

NAMED = 3
MOST = 10_000  # accounts of each half

# From one account to the next one, each by a look into the index of its half: however many messages there are.
_ACCOUNTS = " union ".join(
    """
(with recursive found (account, count) as (
    (select account, 1 from {schema}.outbox where status = 'pending' and ordering_key <half>
     order by account limit 1)
    union all
    select (select o.account from {schema}.outbox o
            where o.status = 'pending' and o.ordering_key <half> and o.account > found.account
            order by o.account limit 1), count + 1
    from found where found.account is not null and count < :most)
select account from found where account is not null)
""".replace("<half>", half)
    for half in ("is null", "is not null")
)


def account_names(connection: Connection, settings: Settings) -> Iterator[Finding]:
    """Accounts with pending messages whose name has something in it that nobody sees."""
    accounts = sorted(connection.scalars(statement(_ACCOUNTS, settings.schema_name), {"most": MOST}))
    alike = [account for account in accounts if as_it_looks(account) != account]
    if not alike:
        yield ok("no account with pending messages has a name that looks like another one")
        return
    told = [f"{json_text(name)} looks like {json_text(as_it_looks(name))}" for name in alike[:NAMED]]
    more = [f"{len(alike) - NAMED} more"] if len(alike) > NAMED else []
    hint = (
        "Correct the application that writes the name; then discard these, by the exact name or by id, "
        "and insert them anew: relay list --status pending"
    )
    yield warn("; ".join(told + more), hint)
