"""What is seen of a worker from outside: metrics, probes, log lines, traces."""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import urlsplit

from relay.errors import needs

with needs("worker", "relay.settings"):
    from pydantic import AfterValidator, BaseModel, Field

from relay.settings.values import CONFIG, PlainText, of_text
from relay.traces import TRACE_ID


def _of_a_trace(url: str) -> str:
    try:
        parts = urlsplit(url)
        right = parts.scheme in ("http", "https") and bool(parts.hostname) and "@" not in parts.netloc
    except ValueError:  # its text may quote a part of a password
        right = False
    if not right or TRACE_ID not in url:
        raise ValueError(f"must be an http or https address with {TRACE_ID} in it, and without a password")
    return url


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
    trace_url: Annotated[PlainText, AfterValidator(_of_a_trace)] | None = Field(
        None, description="the page of a trace, with {trace_id} in it: relay show and the dashboard lead there"
    )
