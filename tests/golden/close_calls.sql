update relay.call set settled_at = now(), outcome = v.outcome, http_status = v.http_status,
    request_id = v.request_id, error_code = v.error_code, sub_code = v.sub_code, error_message = v.error_message,
    request_bytes = v.request_bytes, duration_ms = v.duration_ms,
    sent_at = now() - make_interval(secs => v.sent_seconds_ago)
from unnest(cast(%(ids)s as bigint[]), cast(%(outcomes)s as text[]), cast(%(http_statuses)s as smallint[]),
    cast(%(request_ids)s as text[]), cast(%(error_codes)s as text[]), cast(%(sub_codes)s as text[]),
    cast(%(error_messages)s as text[]), cast(%(request_bytes)s as integer[]), cast(%(durations_ms)s as integer[]),
    cast(%(sent_seconds_ago)s as double precision[]), cast(%(nonces)s as bigint[]))
    as v (id, outcome, http_status, request_id, error_code, sub_code, error_message, request_bytes, duration_ms,
          sent_seconds_ago, nonce)
where call.id = v.id and call.nonce = v.nonce and call.settled_at is null
returning call.id, call.nonce
