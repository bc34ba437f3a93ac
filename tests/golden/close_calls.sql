update relay.call set settled_at = now(), outcome = v.outcome, http_status = v.http_status,
    request_id = v.request_id, error_code = v.error_code, sub_code = v.sub_code, error_message = v.error_message,
    request_bytes = v.request_bytes, duration_ms = v.duration_ms,
    sent_at = now() - make_interval(secs => v.sent_seconds_ago)
from unnest(cast($1 as bigint[]), cast($2 as text[]), cast($3 as smallint[]),
    cast($4 as text[]), cast($5 as text[]), cast($6 as text[]),
    cast($7 as text[]), cast($8 as integer[]), cast($9 as integer[]),
    cast($10 as double precision[]), cast($11 as bigint[]))
    as v (id, outcome, http_status, request_id, error_code, sub_code, error_message, request_bytes, duration_ms,
          sent_seconds_ago, nonce)
where call.id = v.id and call.nonce = v.nonce and call.settled_at is null
returning call.id, call.nonce
