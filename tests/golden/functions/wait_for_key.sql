CREATE OR REPLACE FUNCTION relay.wait_for_key(of_table regclass, bucket integer)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
declare
    before text := current_setting('lock_timeout');
    most interval;
    who text;
begin
    select greatest(interval '1 ms', least(
        interval '5 s', 0.8 * min(cast(ends.after as interval) - (clock_timestamp() - ends.began))))
    into most
    from (values (current_setting('statement_timeout'), statement_timestamp()),
        (current_setting('transaction_timeout', true), now())) as ends (after, began)
    where ends.after <> '0';
    if cast(before as interval) not between interval '1 ms' and most then
        perform set_config('lock_timeout', concat(ceil(1000 * extract(epoch from most)), 'ms'), true);
    end if;
    begin
        perform pg_advisory_xact_lock_shared(cast(of_table as integer), bucket);
    exception when lock_not_available then
        select concat_ws(', ', 'process ' || l.pid, 'role ' || a.usename,
            'in this state since ' || a.state_change,
            case when l.pid is null then 'prepared ' || l.virtualtransaction end) into who
        from pg_locks l left join pg_stat_activity a on a.pid = l.pid
        where l.locktype = 'advisory' and l.granted and l.mode = 'ExclusiveLock' and l.objsubid = 2
          and l.classid = cast(of_table as oid) and l.objid = cast(bucket as oid)
          and l.database = (select oid from pg_database where datname = current_database())
        limit 1;
        raise exception using errcode = 'lock_not_available',
            message = concat('somebody holds the lock of this ordering key: ', coalesce(who, 'gone now')),
            hint = 'The relay holds it for a moment only. End that session: select pg_terminate_backend(PID)';
    end;
    perform set_config('lock_timeout', before, true);
end
$function$;
