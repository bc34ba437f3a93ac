CREATE OR REPLACE FUNCTION relay.keep_call()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
begin
    if tg_op operator(pg_catalog.=) 'INSERT' or (new.message_ids operator(pg_catalog.=) old.message_ids) is not true then
        if (
        pg_catalog.array_ndims(new.message_ids) operator(pg_catalog.=) 1
        and pg_catalog.array_lower(new.message_ids, 1) operator(pg_catalog.=) 1
        and pg_catalog.cardinality(new.message_ids) operator(pg_catalog.<=) 1000 and new.message_ids[1] is not null) is not true
        then
            raise exception using
            errcode = 'check_violation', table = 'call', column = 'message_ids',
            constraint = 'call_names_each_once',
            message = 'a call names from 1 to 1000 messages, each once',
            hint = 'An array of one dimension that begins at 1, without a null.';
        elsif pg_catalog.cardinality(new.message_ids) operator(pg_catalog.>) 1 then
            if (
        pg_catalog.cardinality(new.message_ids) operator(pg_catalog.=) (
            select pg_catalog.count(distinct named.id) from pg_catalog.unnest(new.message_ids) as named (id))) is not true
            then
                raise exception using
            errcode = 'check_violation', table = 'call', column = 'message_ids',
            constraint = 'call_names_each_once',
            message = 'a call names from 1 to 1000 messages, each once',
            hint = 'An array of one dimension that begins at 1, without a null.';
            end if;
        end if;
    end if;
    if tg_op operator(pg_catalog.=) 'INSERT' then
        if (new.lease_until operator(pg_catalog.<=) (pg_catalog.now() operator(pg_catalog.+) interval '2 days') and new.lease_until operator(pg_catalog.>) 'epoch' and pg_catalog.clock_timestamp() operator(pg_catalog.<) (pg_catalog.now() operator(pg_catalog.+) interval '10 minutes') and coalesce(greatest(pg_catalog.octet_length(new.account)), 0) operator(pg_catalog.<=) 2500 and coalesce(greatest(pg_catalog.octet_length(new.worker)), 0) operator(pg_catalog.<=) 1000) is not true then
        if pg_catalog.pg_has_role(current_user, (
            select c.relowner from pg_catalog.pg_class c where c.oid operator(pg_catalog.=) tg_relid), 'usage')
        then
            return new;
        elsif (coalesce(greatest(pg_catalog.octet_length(new.account)), 0) operator(pg_catalog.<=) 2500 and coalesce(greatest(pg_catalog.octet_length(new.worker)), 0) operator(pg_catalog.<=) 1000) is not true then
            raise exception using
            errcode = 'restrict_violation', message = 'a code has at most 1000 bytes, a name 1000, the text of an error 8000', hint = 'Cut it, and keep it elsewhere.';
        end if;
        raise exception using
            errcode = 'restrict_violation', message = 'a call is claimed now, and for two days at most', hint = 'Begin a new transaction.';
    end if;
        return new;
    end if;
    if new.sent_at operator(pg_catalog.<) new.claimed_at or new.sent_at operator(pg_catalog.>) pg_catalog.now() then
        if not pg_catalog.pg_has_role(current_user, (
            select c.relowner from pg_catalog.pg_class c where c.oid operator(pg_catalog.=) tg_relid), 'usage')
        then
            new.sent_at := greatest(new.claimed_at, least(new.sent_at, pg_catalog.now()));
        end if;
    end if;
    if (new.lease_until operator(pg_catalog.<=) (pg_catalog.now() operator(pg_catalog.+) interval '2 days') and new.lease_until operator(pg_catalog.>) 'epoch' and (new.settled_at is null or new.settled_at operator(pg_catalog.=) pg_catalog.now() and pg_catalog.clock_timestamp() operator(pg_catalog.<) (pg_catalog.now() operator(pg_catalog.+) interval '10 minutes')) and coalesce(greatest(pg_catalog.octet_length(new.request_id), pg_catalog.octet_length(new.error_code), pg_catalog.octet_length(new.sub_code)), 0) operator(pg_catalog.<=) 1000 and coalesce(greatest(pg_catalog.octet_length(new.error_message)), 0) operator(pg_catalog.<=) 8000) is not true then
        if pg_catalog.pg_has_role(current_user, (
            select c.relowner from pg_catalog.pg_class c where c.oid operator(pg_catalog.=) tg_relid), 'usage')
        then
            return new;
        elsif (coalesce(greatest(pg_catalog.octet_length(new.request_id), pg_catalog.octet_length(new.error_code), pg_catalog.octet_length(new.sub_code)), 0) operator(pg_catalog.<=) 1000 and coalesce(greatest(pg_catalog.octet_length(new.error_message)), 0) operator(pg_catalog.<=) 8000) is not true then
            raise exception using
            errcode = 'restrict_violation', message = 'a code has at most 1000 bytes, a name 1000, the text of an error 8000', hint = 'Cut it, and keep it elsewhere.';
        end if;
        raise exception using
            errcode = 'restrict_violation', message = 'a call is settled at the time of its settling, and claimed for two days at most', hint = 'Begin a new transaction.';
    end if;
    return new;
end
$function$;

CREATE TRIGGER call_is_kept BEFORE INSERT OR UPDATE ON relay.call FOR EACH ROW EXECUTE FUNCTION relay.keep_call();
