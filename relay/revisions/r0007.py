"""Revision 0007: the rules of the operators' verbs, in one place. Frozen: never edit, add one.

What may be retried, discarded or redacted, and why not, is said by functions of the database and nowhere else; whoever
calls them, the command or a person with SQL, gets the same answer and leaves the same row in the ledger. So a login
needs the right to call them and none on any table. The texts are in the modules beside this one.
"""

from __future__ import annotations

from relay.revisions import r0004_functions, r0007_orders, r0007_rules

REVISION = "0007"
DOWN_REVISION: str | None = "0006"

UPGRADE = (
    *r0007_rules.UPGRADE,
    *r0007_orders.UPGRADE,
    # Nothing calls these any more.
    "drop function {schema}.record_action(text, text, json, bigint[])",
    "drop function {schema}.lock_messages(bigint[])",
)

DOWNGRADE = (
    *(text.replace("create function", "create or replace function") for text in r0004_functions.UPGRADE),
    *r0007_orders.DOWNGRADE,
    *r0007_rules.DOWNGRADE,
)
