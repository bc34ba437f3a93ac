CREATE OR REPLACE FUNCTION relay.leave_out_expired(open_call bigint, its_nonce bigint)
 RETURNS bigint[]
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'relay', 'pg_temp'
AS $function$
declare
    named bigint[];
    left_in bigint[];
begin
    select c.message_ids into named from call c
    where c.id = open_call and c.nonce = its_nonce and c.settled_at is null and c.created_by = session_user
    for update;
    left_in := array(
        select o.id from unnest(named) with ordinality as m (id, position) join outbox o on o.id = m.id
        where o.deliver_before is null or o.deliver_before > clock_timestamp()
        order by m.position);
    if cardinality(left_in) > 0 and left_in <> named then
        update call c set message_ids = left_in where c.id = open_call and c.nonce = its_nonce;
    end if;
    return left_in;
end
$function$;
