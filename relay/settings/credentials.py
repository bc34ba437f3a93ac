"""Where the credentials of accounts come from that are not in the settings themselves."""

from __future__ import annotations

from pathlib import Path

from relay.errors import needs

with needs("worker", "relay.settings"):
    from pydantic import BaseModel, Field

from relay.settings.values import CONFIG, DatabaseUrl, PlainText


class AccountSettings(BaseModel):
    """A part of ``relay.settings.Settings``, which is what is made."""

    model_config = CONFIG

    accounts_query: PlainText | None = Field(
        None, repr=False, description="a SELECT over the application's own table that gives the credentials of :account"
    )
    accounts_database_url: DatabaseUrl | None = Field(
        None, repr=False, description="where that query runs, if not in the relay's own database"
    )
    accounts_dir: Path | None = Field(None, description="a folder with NAME/app_key, NAME/app_secret, NAME/session")
