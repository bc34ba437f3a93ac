CREATE OR REPLACE FUNCTION relay.refuse_scope()
 RETURNS trigger
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
begin
    raise exception using
        errcode = 'invalid_parameter_value',
        message = 'a scope has at most 512 bytes and no control character',
        hint = 'account:NAME or app:KEY, as relay status shows it.';
end
$function$;

CREATE TRIGGER pause_scope_is_a_name BEFORE INSERT ON relay.pause FOR EACH ROW WHEN (((new.error_code IS NULL) AND ((octet_length(new.scope) > 512) OR (new.scope ~
        CASE getdatabaseencoding()
            WHEN 'UTF8'::name THEN '[\u0001-\u001f\u007f-\u009f\u2028-\u202e\u2060-\u206f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200e\u200f\u2800\u3164\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e00ff]'::text
            ELSE '[\u0001-\u001f\u007f]'::text
        END)))) EXECUTE FUNCTION relay.refuse_scope();
