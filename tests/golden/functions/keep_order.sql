CREATE OR REPLACE FUNCTION relay.keep_order()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
AS $function$
declare
    drawn bigint;
begin
    if not pg_catalog.pg_try_advisory_xact_lock_shared(
        cast(tg_relid as integer),
        (pg_catalog.hashtext(new.account) operator(pg_catalog.#) pg_catalog.hashtext(new.ordering_key))
            operator(pg_catalog.&) 255)
    then
        execute pg_catalog.concat('select ', pg_catalog.quote_ident(tg_table_schema), '.wait_for_key($1, $2)')
            using cast(tg_relid as pg_catalog.regclass),
                (pg_catalog.hashtext(new.account) operator(pg_catalog.#) pg_catalog.hashtext(new.ordering_key))
                    operator(pg_catalog.&) 255;
    end if;
    if new.created_xid operator(pg_catalog.=) pg_catalog.pg_current_xact_id() then
        begin
            drawn := pg_catalog.currval(cast(tg_argv[0] as pg_catalog.regclass));
        exception when object_not_in_prerequisite_state then
            return new;
        end;
        if new.id operator(pg_catalog.=) drawn then
            new.id := pg_catalog.nextval(cast(tg_argv[0] as pg_catalog.regclass));
        end if;
    end if;
    return new;
end
$function$;

CREATE TRIGGER outbox_keeps_order BEFORE INSERT ON relay.outbox FOR EACH ROW WHEN ((new.ordering_key IS NOT NULL)) EXECUTE FUNCTION relay.keep_order('relay.outbox_id_seq');
