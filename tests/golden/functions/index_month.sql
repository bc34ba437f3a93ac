CREATE OR REPLACE FUNCTION relay.index_month(last bigint)
 RETURNS bigint
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'relay', 'pg_temp'
 SET lock_timeout TO '500ms'
AS $function$
declare
    here name := (select n.nspname from pg_class c join pg_namespace n on n.oid = c.relnamespace
                  where c.oid = cast('outbox_archive' as regclass));
    months name[];
    whole name[];
begin
    select array_agg(part.relname order by part.relname, index.name),
        array_agg(index.name order by part.relname, index.name)
    into months, whole
    from pg_inherits i join pg_class part on part.oid = i.inhrelid
        cross join unnest(cast('{outbox_archive_keys,outbox_archive_finished}' as text[])) as index (name)
    where i.inhparent = cast('outbox_archive' as regclass) and not exists (
        select from pg_index x join pg_inherits one on one.inhrelid = x.indexrelid
        where x.indrelid = part.oid and one.inhparent = cast(index.name as regclass));
    if months is null then
        return last;
    end if;
    -- Read once without a lock: what was just salted is then in memory, with its marks, when it is read with one.
    execute format('select count(*) from %I.%I', here, months[1]);
    if not archive_alone() then
        return last - cardinality(months);
    end if;
    case whole[1]
        when 'outbox_archive_keys' then
            execute format('create index %I on %I.%I (ordering_key) where ordering_key is not null', months[1] || '_ordering_key_idx', here, months[1]);
            execute format('alter index %I.outbox_archive_keys attach partition %I.%I', here, here, months[1] || '_ordering_key_idx');
        when 'outbox_archive_finished' then
            execute format('create index %I on %I.%I using brin (finished_at) with (pages_per_range = 32, autosummarize = on)', months[1] || '_finished_at_idx', here, months[1]);
            execute format('alter index %I.outbox_archive_finished attach partition %I.%I', here, here, months[1] || '_finished_at_idx');
    end case;
    return last - (cardinality(months) - 1);
exception when lock_not_available then
    return last - cardinality(months);
end
$function$;
