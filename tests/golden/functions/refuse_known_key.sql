CREATE OR REPLACE FUNCTION relay.refuse_known_key()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
AS $function$
begin
    if new.created_xid operator(pg_catalog.=) pg_catalog.pg_current_xact_id()
        and (pg_catalog.current_setting('transaction_isolation') operator(pg_catalog.<>) 'read committed'
            or exists (
                select from relay.dedupe d
                where d.account operator(pg_catalog.=) new.account
                  and d.dedupe_key operator(pg_catalog.=) new.dedupe_key))
    then
        execute pg_catalog.concat(
            'select ', pg_catalog.quote_ident(tg_table_schema), '.refuse_key_if_known($1, $2, $3)')
            using new.account, new.dedupe_key, new.id;
    end if;
    return null;
end
$function$;

CREATE TRIGGER outbox_dedupe_still_holds AFTER INSERT ON relay.outbox FOR EACH ROW WHEN ((new.dedupe_key IS NOT NULL)) EXECUTE FUNCTION relay.refuse_known_key();
