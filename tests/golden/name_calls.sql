insert into relay.call (account, worker, message_ids, lease_until)
select min(proposed.account), %(worker)s, array_agg(proposed.id order by proposed.position),
    now() + make_interval(secs => cast(%(lease_seconds)s as double precision))
from unnest(cast(%(batches)s as integer[]), cast(%(accounts)s as text[]), cast(%(keys)s as text[]), cast(%(ids)s as bigint[]))
    with ordinality as proposed (batch, account, ordering_key, id, position)
where proposed.id not in (select unnest(message_ids) from relay.call where settled_at is null)
  and not exists (
      select from relay.outbox earlier
      where earlier.status = 'pending' and earlier.ordering_key is not null and earlier.account = proposed.account
        and earlier.ordering_key = proposed.ordering_key and earlier.id < proposed.id)
group by proposed.batch
order by proposed.batch
returning id, account, message_ids
