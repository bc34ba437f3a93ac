insert into relay.call (account, worker, message_ids, lease_until, nonce)
select min(batch.account), $1, array_agg(proposed.id order by proposed.position),
    now() + make_interval(secs => cast($2 as double precision)), min(batch.nonce)
from relay.name_calls() as naming
cross join unnest(cast($3 as bigint[]), cast($4 as integer[])) with ordinality as proposed (id, batch, position)
join unnest(cast($5 as text[]), cast($6 as bigint[])) with ordinality as batch (account, nonce, number)
    on batch.number = proposed.batch
where proposed.id not in (
    select named.id
    from (select unnest(message_ids) as id from relay.call
          where settled_at is null and call.id >= cast($7 as bigint)) as named
    where named.id is not null)
  and proposed.id not in (
      select keyed.id
      from unnest(cast($8 as bigint[]), cast($9 as text[]), cast($10 as text[]),
          cast($11 as bigint[])) as keyed (id, account, ordering_key, key_from)
      where exists (
          select from relay.outbox earlier
          where earlier.status = 'pending' and earlier.ordering_key is not null and earlier.account = keyed.account
            and earlier.ordering_key = keyed.ordering_key and earlier.id < keyed.id and earlier.id >= keyed.key_from)
  )
group by proposed.batch
order by proposed.batch
returning id, nonce, account, message_ids
