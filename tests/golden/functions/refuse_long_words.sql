CREATE OR REPLACE FUNCTION relay.refuse_long_words()
 RETURNS trigger
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
begin
    raise exception using
        errcode = 'program_limit_exceeded',
        message = 'a name for the ledger has at most 1000 bytes, and a reason 10000';
end
$function$;

CREATE TRIGGER action_words_are_short BEFORE INSERT ON relay.action FOR EACH ROW WHEN (((octet_length(new.actor) > 1000) OR (octet_length(new.reason) > 10000))) EXECUTE FUNCTION relay.refuse_long_words();
