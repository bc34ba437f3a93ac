CREATE OR REPLACE FUNCTION relay.why_not(verb text, ids bigint[], OUT id bigint, OUT why_not text, OUT account text, OUT ordering_key text, OUT age_seconds double precision, OUT version bigint)
 RETURNS SETOF record
 LANGUAGE plpgsql
 STABLE SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'relay', 'pg_temp'
 SET plan_cache_mode TO 'force_custom_plan'
AS $function$
begin
    return query
    select named.id,
        case
            when m.status is null then 'there is no such message'
            when verb = 'retry' then case
                when m.status = 'done' then
                    'it is done, and done is final; to send it once more, insert it as a new message'
                when m.archived then
                    'it is archived, and what is archived is not sent; insert it as a new message'
                when open.id is not null then 'it is in flight, in call ' || open.id
                when m.status = 'pending' and m.available_at < 'infinity' then 'it is pending already'
                when case when pg_column_size(m.content) < 100 then cast(m.content as text) = '{"redacted": true}' end then
                    'its content was removed, so there is nothing to send'
                when m.deliver_before <= now() then 'its deliver_before has passed, so it would not be sent'
            end
            when verb = 'discard' then case
                when m.status = 'done' then 'it is done, and done is final'
                when m.archived then 'it is archived: it failed, and stays as it is'
                when open.id is not null then
                    'it is in flight: try again when call ' || open.id || ' is settled'
                when m.status = 'failed' and m.error_code = 'relay.discarded' then 'it is discarded already'
            end
            when verb = 'redact' then case
                when m.status = 'pending' then
                    'it is pending and would be sent without its content; discard it first'
                when case when pg_column_size(m.content) < 100 then cast(m.content as text) = '{"redacted": true}' end then 'its content was removed already'
            end
            else 'there is no such verb'
        end,
        m.account, m.ordering_key, cast(extract(epoch from now() - m.created_at) as double precision), cast(cast(m.xmin as text) as bigint)
    from (select distinct given.id from unnest(ids) as given (id)) as named
    left join lateral (
        select o.status, o.account, o.ordering_key, o.error_code, o.available_at, o.deliver_before, o.content,
            o.created_at, o.xmin, false as archived
        from outbox o where o.id = named.id
        union all
        select a.status, a.account, a.ordering_key, a.error_code, a.available_at, a.deliver_before, a.content,
            a.created_at, a.xmin, true
        from outbox_archive a where a.id = named.id
        limit 1
    ) as m on true
    left join (
        select c.id, unnest(c.message_ids) as message_id from call c where c.settled_at is null
    ) as open on open.message_id = named.id
    order by named.id;
end
$function$;
