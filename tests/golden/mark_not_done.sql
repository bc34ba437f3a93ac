with v as (
    select * from unnest(cast($1 as bigint[]), cast($2 as bigint[]), cast($3 as smallint[]),
        cast($4 as text[]), cast($5 as boolean[]), cast($6 as boolean[]),
        cast($7 as text[]), cast($8 as text[]), cast($9 as text[]),
        cast($10 as text[]), cast($11 as double precision[]))
        as v (id, call_id, result_index, outcome, pays, final, error_code, error_message, row_code, row_message,
              delay_seconds)
),
marked as (
    update relay.outbox set
        status = case when v.final then 'failed' else 'pending' end,
        attempts = attempts + cast(v.pays as integer),
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
