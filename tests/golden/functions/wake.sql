CREATE OR REPLACE FUNCTION relay.wake()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
begin
    if not pg_catalog.pg_try_advisory_xact_lock_shared(cast(tg_relid as integer), 256)
        and coalesce(pg_catalog.current_setting('relay.wake', true), '') operator(pg_catalog.<>) 'off'
        and pg_catalog.pg_notification_queue_usage() operator(pg_catalog.<) 0.5
    then
        perform pg_catalog.pg_notify(pg_catalog.concat('relay_', tg_relid), '');
    end if;
    return null;
end
$function$;

CREATE TRIGGER outbox_wakes AFTER INSERT ON relay.outbox FOR EACH STATEMENT EXECUTE FUNCTION relay.wake();
