"""How hard a worker works, how long it waits and tries again, and what becomes of what has ended."""

from __future__ import annotations

from typing import Literal

from relay.errors import needs

with needs("worker", "relay.settings"):
    from pydantic import BaseModel, Field, ValidationInfo, field_validator

from relay.settings.values import A_DAY, CONFIG, Days


class CycleSettings(BaseModel):
    """A part of ``relay.settings.Settings``, which is what is made."""

    model_config = CONFIG

    batch_size: int = Field(
        50,
        ge=1,
        le=50,
        description="messages in a call, which takes 50 at most",
        json_schema_extra={"unit": "messages"},
    )
    concurrency: int = Field(
        8, ge=1, le=1000, description="calls in flight in one process", json_schema_extra={"unit": "calls"}
    )
    linger_ms: int = Field(
        0, ge=0, le=1000 * A_DAY, description="wait this long to fill a batch: saves calls of the daily quota"
    )
    poll_interval_ms: int = Field(100, ge=1, le=1000 * A_DAY, description="the longest sleep while idle")
    wakeup: Literal["auto", "poll", "notify"] = Field(
        "auto", description="auto: woken by inserts where that works; notify: or do not start; poll: polling alone"
    )
    rate_limit: float = Field(
        0,
        ge=0,
        le=1_000_000,
        description="of one app key, all workers together; 0: no limit",
        json_schema_extra={"unit": "calls a second"},
    )
    lease_seconds: float = Field(
        60, gt=0, le=A_DAY, description="after this long without a sign of its worker a call is unknown"
    )
    max_attempts: int = Field(
        12,
        ge=1,
        le=1_000_000,
        description="then a message fails; an outage of the platform is nobody's attempt",
        json_schema_extra={"unit": "attempts"},
    )
    outage_hours: float = Field(
        48,
        ge=0,
        le=876_000,
        description="no message fails earlier because whole calls came to nothing; 0: attempts count",
    )
    retry_base_seconds: float = Field(1, gt=0, le=365 * A_DAY, description="the first delay; it doubles, with jitter")
    retry_max_seconds: float = Field(900, gt=0, le=365 * A_DAY, description="the longest delay")
    on_unknown: Literal["resend", "hold"] = Field(
        "resend", description="what a call without an answer leads to; hold: keep it for a person"
    )
    on_failed_head: Literal["release", "hold"] = Field(
        "release", description="what a failed message does to its ordering key; hold: stop it"
    )
    archive_after_days: Days = Field(
        0, ge=0, le=36_500, description="workers archive what finished longer ago; 0: nothing moves by itself"
    )
    dedupe_keep_days: Days = Field(
        0,
        ge=0,
        le=36_500,
        description="dedupe keys of messages that left the outbox longer ago may go; 0: kept for ever",
    )
    shutdown_grace_seconds: float = Field(
        25, ge=0, le=A_DAY, description="how long calls in flight may take to land when the worker is stopped"
    )

    @field_validator("retry_max_seconds")
    @classmethod
    def _not_below_the_base(cls, longest: float, info: ValidationInfo) -> float:
        base = info.data.get("retry_base_seconds", 0)
        if longest < base:
            raise ValueError(f"must not be less than RELAY_RETRY_BASE_SECONDS {base:g}")
        return longest
