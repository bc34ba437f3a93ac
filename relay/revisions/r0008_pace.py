"""Revision 0008, who put the next call of an app key far away. Frozen once released: never edit, add one.

Whoever has a worker's login may move the next call of any app key by up to a day; every other worker then waits, and
moves it on, call by call. So while it is far the row keeps one login, and as ``step`` by how much that one moved it
beyond all others: what another one moves is taken off, and who has more than is left takes over. So who moved it
further than all others together is the one who stands there, in however many steps, and the last one does not count.
While it is near the login is that of the last call, and there is no step.

Nobody but the owner brings it forward. Each call puts it off; whoever took that back, again and again with a worker's
login, would have all the others exceed what the platform allows.

A paced call writes this row in one statement as before, and the function runs only where it is far, or where another
login wrote it before. Workers may name neither column; whoever may, of the grants of the version before, is overruled.
What the owner inserts stays as it is: that is a dump.
"""

from __future__ import annotations

_FAR = "clock_timestamp() + interval '60 s'"

UPGRADE: tuple[str, ...] = (
    "alter table {schema}.pace add column db_user name, add column step interval",
    "alter table {schema}.pace alter column db_user set default session_user",
    r"""
    create function {schema}.keep_pace() returns trigger language plpgsql
        set search_path = pg_catalog, pg_temp as $body$
    declare
        far constant timestamptz := <far>;
        moved interval;
    begin
        if tg_op = 'INSERT' then
            if pg_has_role(current_user, (select relowner from pg_class where oid = tg_relid), 'usage') then
                return new;
            end if;
            moved := new.next_at - clock_timestamp();
        else
            moved := new.next_at - greatest(old.next_at, clock_timestamp());
            if new.next_at > far and old.next_at > far and old.db_user is not null then
                moved := greatest(moved, interval '0 s');
                new.db_user := old.db_user;
                if old.db_user = session_user then
                    new.step := coalesce(old.step, interval '0 s') + moved;
                elsif moved <= old.step then
                    new.step := old.step - moved;
                else
                    new.db_user := session_user;
                    new.step := moved - coalesce(old.step, interval '0 s');
                end if;
                return new;
            end if;
        end if;
        new.db_user := session_user;
        new.step := case when new.next_at > far then moved end;
        return new;
    end
    $body$
    """.replace("<far>", _FAR),
    r"""
    create trigger pace_is_somebodys
        before insert or update on {schema}.pace
        for each row when (new.next_at > <far> or new.step is not null or new.db_user is distinct from session_user)
        execute function {schema}.keep_pace()
    """.replace("<far>", _FAR),
    r"""
    create trigger pace_is_not_undone
        before update on {schema}.pace
        for each row when (new.next_at < old.next_at)
        execute function {schema}.refuse_but_owner(
            'the next call of an app key is put off and never brought forward', 'Let the owner delete the row.')
    """,
)

DOWNGRADE: tuple[str, ...] = (
    "drop trigger pace_is_not_undone on {schema}.pace",
    "drop trigger pace_is_somebodys on {schema}.pace",
    "drop function {schema}.keep_pace()",
    "alter table {schema}.pace drop column step, drop column db_user",
)
