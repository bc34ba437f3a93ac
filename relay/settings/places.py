"""Where messages come from and go to: the tables and the producer, and the file that the rest may be written in."""

from __future__ import annotations

from pathlib import Path

from relay.errors import needs

with needs("worker", "relay.settings"):
    from pydantic import BaseModel, Field

from relay.settings.tmc import OURS
from relay.settings.values import CONFIG, DatabaseUrl, Identifier


class PlaceSettings(BaseModel):
    """A part of ``relay.settings.Settings``, which is what is made."""

    model_config = CONFIG

    config: Path | None = Field(None, description="a TOML file other than ./relay.toml")
    database_url: DatabaseUrl | None = Field(None, repr=False, description="postgresql://user@host/database")
    schema_name: Identifier = Field(
        "relay", validation_alias="RELAY_SCHEMA", description="the PostgreSQL schema of the tables"
    )
    producer: str = Field(OURS, description="what sends: a producer of the relay's, or the name of an entry point")
