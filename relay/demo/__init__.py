"""The first ten minutes: a shop that sells, a platform in trouble, a relay between them, and the books compared.

Nothing here is staged. The commands printed are real processes, started as a user would start them; PostgreSQL is a
real one, from a wheel; only the platform is played, by ``relay sandbox``. What the shop, the tables and the platform
say separately must add up, or the demo fails: that makes it a smoke test of the whole.

    story            what happens, in its order
    shop             the application: orders and their messages in one transaction
    commands         ``relay ...`` as processes that never outlive us
    books            what shop, tables and platform say
    reconciliation   the sums that must hold
    queries          the same for people who trust nothing but SQL
    tour             the same in the pages of the dashboard
    telling          how it looks
"""

from relay.demo.story import run_demo

__all__ = ["run_demo"]
