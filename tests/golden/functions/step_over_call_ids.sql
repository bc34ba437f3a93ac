CREATE OR REPLACE FUNCTION relay.step_over_call_ids()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
AS $function$
begin
    if (new.id operator(pg_catalog.>)
            cast('0' operator(pg_catalog.||) pg_catalog.current_setting('relay.last_call', true) as bigint)
        and pg_catalog.date_part('epoch', pg_catalog.clock_timestamp()) operator(pg_catalog.<)
            cast('0' operator(pg_catalog.||) pg_catalog.current_setting('relay.look_at_calls', true) as bigint)
        ) is not true
    then
        execute pg_catalog.concat('select ', pg_catalog.quote_ident(tg_table_schema), '.unused_call_id($1)')
            into new.id using new.id;
    end if;
    return new;
end
$function$;

CREATE TRIGGER call_steps_over_used_ids BEFORE INSERT ON relay.call FOR EACH ROW EXECUTE FUNCTION relay.step_over_call_ids();
