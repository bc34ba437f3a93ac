update relay.outbox set status = 'done', attempts = attempts + 1, call_id = v.call_id,
    result_index = v.result_index, finished_at = now()
from unnest(cast($1 as bigint[]), cast($2 as bigint[]), cast($3 as smallint[]))
    as v (id, call_id, result_index)
where outbox.id = v.id and outbox.status = 'pending'
