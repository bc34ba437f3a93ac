"""The options of the dashboard: what it reads by, whose zone times are told in, and who may look."""

from __future__ import annotations

from pathlib import Path

from relay.errors import needs

with needs("worker", "relay.settings"):
    from pydantic import Field
    from pydantic_settings import BaseSettings

from relay.settings.values import CONFIG, DatabaseUrl, PlainText, Zone


class DashboardSettings(BaseSettings):
    """A part of ``relay.settings.Settings``, which is what is made."""

    model_config = CONFIG

    dashboard_database_url: DatabaseUrl | None = Field(None, repr=False)  # of a login that only reads
    dashboard_zone: Zone = "Asia/Shanghai"  # for whoever has not chosen one; UTC stands beside it
    dashboard_users_file: Path | None = None  # NAME:HASH a line
    dashboard_user_header: PlainText | None = None  # in which a proxy says who looks
    dashboard_trusted_proxies: PlainText = ""  # whose header is believed: addresses and networks, with commas
