with v as (
    select * from unnest(cast(%(ids)s as bigint[]), cast(%(call_ids)s as bigint[]), cast(%(result_indexes)s as smallint[]),
        cast(%(outcomes)s as text[]), cast(%(burned)s as boolean[]), cast(%(final)s as boolean[]),
        cast(%(error_codes)s as text[]), cast(%(error_messages)s as text[]), cast(%(row_codes)s as text[]),
        cast(%(row_messages)s as text[]), cast(%(delays_seconds)s as double precision[]))
        as v (id, call_id, result_index, outcome, burned, final, error_code, error_message, row_code, row_message,
              delay_seconds)
),
marked as (
    update relay.outbox set
        status = case when v.final then 'failed' else 'pending' end,
        attempts = attempts + cast(v.burned as integer),
        error_code = v.row_code,
        error_message = v.row_message,
        call_id = case when v.final then v.call_id end,
        result_index = case when v.final then v.result_index end,
        finished_at = case when v.final then now() end,
        available_at = case
            when v.final or v.delay_seconds is null then available_at
            when v.delay_seconds = 'infinity' then 'infinity'
            else now() + make_interval(secs => v.delay_seconds) end
    from v where outbox.id = v.id and outbox.status = 'pending'
    returning outbox.id, outbox.status, outbox.available_at
)
insert into relay.attempt (message_id, call_id, result_index, outcome, error_code, error_message, retry_at)
select v.id, v.call_id, v.result_index, v.outcome, v.error_code, v.error_message,
    case when marked.status = 'pending' then marked.available_at end
from v join marked using (id)
