"""What is seen of a worker from outside: metrics, probes, log lines."""

from __future__ import annotations

from typing import Annotated, Literal

from relay.errors import needs

with needs("worker", "relay.settings"):
    from pydantic import BaseModel, Field

from relay.settings.values import CONFIG, of_text


class ObservingSettings(BaseModel):
    """A part of ``relay.settings.Settings``, which is what is made."""

    model_config = CONFIG

    metrics_host: str = Field(
        "*", description="where metrics and probes listen: every address of this machine, IPv6 and IPv4, or one of them"
    )
    metrics_port: int = Field(9464, ge=0, le=65535, description="metrics and probes; 0: none")
    metrics_accounts: int = Field(
        20,
        ge=0,
        le=100,
        description="those whose backlog the metrics show by name; the rest are one",
        json_schema_extra={"unit": "accounts"},
    )
    log_level: Annotated[Literal["debug", "info", "warning", "error"], of_text(str.lower)] = Field(
        "info", description="the least that is logged"
    )
    log_format: Literal["auto", "json", "console"] = Field("auto", description="auto: console on a terminal, else json")
