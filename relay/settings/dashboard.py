"""The options of the dashboard: what it reads by, whose zone times are told in, who may look, and who may act."""

from __future__ import annotations

from pathlib import Path

from relay.errors import needs

with needs("worker", "relay.settings"):
    from pydantic import BaseModel, Field

from relay.settings.values import CONFIG, DatabaseUrl, PlainText, Zone


class DashboardSettings(BaseModel):
    """A part of ``relay.settings.Settings``, which is what is made."""

    model_config = CONFIG

    dashboard_database_url: DatabaseUrl | None = Field(
        None, repr=False, description="of a login that reads, and acts where people may; else that of the relay"
    )
    dashboard_zone: Zone = Field("Asia/Shanghai", description="for whoever has not chosen one; UTC stands beside it")
    dashboard_users_file: Path | None = Field(None, description="who may look: a file with NAME:HASH a line")
    dashboard_user_header: PlainText | None = Field(None, description="in which a proxy says who looks")
    dashboard_trusted_proxies: PlainText = Field(
        "", description="whose header is believed: addresses and networks, with commas"
    )
    dashboard_allow_actions: bool = Field(False, description="whether people may act there: retry, discard, pause, ...")
    dashboard_actors: PlainText = Field("", description="who may act, names with commas; else everybody who may look")
