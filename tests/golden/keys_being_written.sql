with written as materialized (
    select cast(held.objid as integer) as bucket
    from pg_locks held join pg_locks writer using (virtualtransaction)
    where held.locktype = 'advisory' and held.objsubid = 2 and held.granted
      and held.classid = cast(cast('relay.outbox' as regclass) as oid)
      and held.database = (select oid from pg_database where datname = current_database())
      and writer.locktype = 'relation' and writer.relation = held.classid and writer.database = held.database
      and writer.mode = 'RowExclusiveLock' and writer.granted)
select key.position, key.written
from (
    select key.position, case
        when pg_try_advisory_lock(advisory.class, advisory.bucket)
            then case when pg_advisory_unlock(advisory.class, advisory.bucket) then null else true end
        else not cast($1 as boolean) or advisory.bucket in (select bucket from written) end as written
    from unnest(cast($2 as text[]), cast($3 as text[])) with ordinality
        as key (account, ordering_key, position)
    cross join lateral (
        select cast(cast('relay.outbox' as regclass) as integer) as class,
            (hashtext(key.account) # hashtext(key.ordering_key)) & 255 as bucket) as advisory
    offset 0) as key
where key.written is not null
