insert into relay.call (account, worker, message_ids, lease_until)
select min(proposed.account), %(worker)s, array_agg(proposed.id order by proposed.position),
    now() + make_interval(secs => cast(%(lease_seconds)s as double precision))
from (select pg_advisory_xact_lock_shared(cast(cast('relay.call' as regclass) as integer), 0)) as naming
cross join unnest(cast(%(batches)s as integer[]), cast(%(accounts)s as text[]), cast(%(keys)s as text[]),
    cast(%(keys_from)s as bigint[]), cast(%(ids)s as bigint[]))
    with ordinality as proposed (batch, account, ordering_key, key_from, id, position)
where proposed.id not in (
      select unnest(message_ids) from relay.call where settled_at is null and id >= cast(%(open_from)s as bigint))
  and not exists (
      select from relay.outbox earlier
      where earlier.status = 'pending' and earlier.ordering_key is not null and earlier.account = proposed.account
        and earlier.ordering_key = proposed.ordering_key and earlier.id < proposed.id
        and earlier.id >= proposed.key_from)
group by proposed.batch
order by proposed.batch
returning id, account, message_ids
