select key.position
from unnest(cast(%(accounts)s as text[]), cast(%(keys)s as text[])) with ordinality as key (account, ordering_key, position)
cross join lateral (
    select cast(cast('relay.outbox' as regclass) as integer) as class,
        (hashtext(key.account) # hashtext(key.ordering_key)) & 255 as bucket) as advisory
where not case when pg_try_advisory_lock(advisory.class, advisory.bucket)
    then pg_advisory_unlock(advisory.class, advisory.bucket) else false end
