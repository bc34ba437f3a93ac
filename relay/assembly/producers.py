"""The producer of the settings, and what a producer is told: the same for a worker and for a question."""

from __future__ import annotations

from collections.abc import Callable

from relay.credential import Credential
from relay.message import Answer
from relay.producers import Producer, ProducerConfig, load
from relay.settings import Settings

Credentials = Callable[[str], Credential | None]  # of an account, as they are now; None where it is unknown


def producer_for(settings: Settings, credentials: Credentials, now: Callable[[], float]) -> Producer:
    """Not open yet. ``now`` gives the seconds since the epoch to sign with."""
    return load(settings.producer)(producer_config(settings, credentials, now))


async def probed(settings: Settings, credentials: Credentials, account: str, now: Callable[[], float]) -> Answer:
    """What the platform says to a call without messages, whatever the producer of the settings is."""
    from relay.producers.tmc import TmcProducer

    producer = TmcProducer(producer_config(settings, credentials, now))
    await producer.open()
    try:
        return await producer.probe(account)
    finally:
        await producer.close()


def producer_config(settings: Settings, credentials: Credentials, now: Callable[[], float]) -> ProducerConfig:
    return ProducerConfig(
        url=settings.tmc_url,
        sign_method=settings.tmc_sign_method,
        response_format=settings.tmc_format,
        simplify=settings.tmc_simplify,
        timeout_seconds=settings.tmc_timeout_seconds,
        batch_size=settings.batch_size,
        credentials=credentials,
        now=now,
    )
