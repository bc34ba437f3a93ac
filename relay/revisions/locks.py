"""How long a migration may stand in the way of others: what runs before and after the statements of a revision.

A table is changed while nobody uses it. Whoever waits for that keeps out all who come later, so that behind one
forgotten transaction every application would wait with its insert. Therefore no lock is waited for without bound::

    the outbox    TABLES_SECONDS, holding nothing   longer than deadlock_timeout: a vacuum that is in the way yields
    all others    100 ms, holding the outbox        shorter than it: a worker that has them in the other order wins

The tables that workers and applications write are locked before anything is changed, so no later statement waits for
them. It is SQL, and the same in a printed script and in a host's own Alembic; ``relay.lock_timeout`` may say another
time for the first wait, ``relay.lock_timeout_before`` keeps what the caller had.
"""

from __future__ import annotations

TABLES_SECONDS = 2.0

BEFORE = f"""
do $body$
declare
    there boolean := to_regclass('{{schema}}.outbox') is not null;
begin
    perform set_config('relay.lock_timeout_before', current_setting('lock_timeout'), true);
    if there then
        perform set_config('lock_timeout',
            coalesce(nullif(current_setting('relay.lock_timeout', true), ''), '{TABLES_SECONDS:.0f}s'), true);
        lock table {{schema}}.outbox in access exclusive mode;
    end if;
    perform set_config('lock_timeout', '100ms', true);
    if there then
        lock table {{schema}}.call, {{schema}}.attempt, {{schema}}.pause, {{schema}}.action in access exclusive mode;
    end if;
end
$body$
"""

AFTER = """
do $body$
begin
    perform set_config('lock_timeout', current_setting('relay.lock_timeout_before'), true);
end
$body$
"""
