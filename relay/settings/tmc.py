"""The options of the producer ``tmc``, which are among the relay's own, from before there were other producers.

RELAY_TMC_FORMAT is what RELAY_PRODUCER_SPOOL_FOLDER is for another: no room but this one knows these names. What others
need of them they ask for in words that fit any producer: its options (``relay.assembly.producers``), the credential of
the account ``default`` (``default_credential``), what the ledger may be shown (``model_dump`` in the mode "json").
"""

from __future__ import annotations

from typing import Literal
from urllib.parse import urlsplit

from relay.errors import ConfigurationError, needs

with needs("worker", "relay.settings"):
    from pydantic import BaseModel, Field, ValidationInfo, field_serializer, field_validator

from relay.addresses import is_loopback
from relay.settings.values import A_DAY, CONFIG, HiddenText, KeyText, variable_of

OURS = "tmc"
OUR_SECRETS = ("tmc_app_secret", "tmc_session")
OUR_KEYS = ("tmc_app_key",)
OUR_ADDRESSES = ("tmc_url",)  # when it is wrong: an address may contain a password


class TmcSettings(BaseModel):
    """A part of ``relay.settings.Settings``, which is what is made."""

    model_config = CONFIG

    tmc_allow_http: bool = Field(False, description="permit http beyond this machine")
    tmc_url: str = Field("https://eco.taobao.com/router/rest", description="where calls go")
    tmc_app_key: KeyText | None = Field(None, description="with the secret and the session: the account default")
    tmc_app_secret: HiddenText | None = Field(None, description="signs each call")
    tmc_session: HiddenText | None = Field(None, description="whose messages they are; not every platform needs one")
    tmc_sign_method: Literal["hmac-sha256", "hmac", "md5"] = Field("hmac-sha256", description="how calls are signed")
    tmc_format: Literal["json", "xml"] = Field("json", description="in which form the platform answers")
    tmc_simplify: bool = Field(False, description="ask the platform for the shorter form of its answers")
    tmc_timeout_seconds: float = Field(
        15, gt=0, le=A_DAY, description="a whole call, from connecting to the last byte of the answer"
    )

    @field_validator("tmc_url")
    @classmethod
    def _only_https_leaves_the_host(cls, url: str, info: ValidationInfo) -> str:
        try:
            parts = urlsplit(url)
        except ValueError:  # its text may quote a part of a password
            raise ValueError("must be an http or https address") from None
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("must be an http or https address")
        if parts.scheme == "http" and not is_loopback(parts.hostname) and not info.data.get("tmc_allow_http", True):
            raise ValueError("must be https unless RELAY_TMC_ALLOW_HTTP=true: the session travels in every call")
        return url

    @field_validator("lease_seconds", check_fields=False)
    @classmethod
    def _outlasts_a_call(cls, lease: float, info: ValidationInfo) -> float:
        timeout = info.data.get("tmc_timeout_seconds", 0)
        least = least_lease_seconds(timeout)
        if timeout and info.data.get("producer") == OURS and lease < least:
            raise ValueError(f"must be at least {least:g} with RELAY_TMC_TIMEOUT_SECONDS {timeout:g}")
        return lease

    @field_serializer("tmc_url", when_used="json")
    def _without_password(self, url: str) -> str:
        address = urlsplit(url)
        return f"{address.scheme}://{address.netloc.rpartition('@')[2]}"

    @field_serializer("tmc_app_key", when_used="json")
    def _end_of_it(self, app_key: str | None) -> str | None:
        return f"…{app_key[-4:]}" if app_key else None

    def default_credential(self, *, needed: bool) -> tuple[str, str, str | None] | None:
        """App key, secret and session (None: without) of the account ``default``, in the clear; None: not given here.

        Raises ConfigurationError for half of one, and where one is ``needed`` and none is given.
        """
        key, secret, session = self.tmc_app_key, self.tmc_app_secret, self.tmc_session
        if key and secret:
            return key, secret.get_secret_value(), session.get_secret_value() if session else None
        given = {variable_of("tmc_app_key"): key, variable_of("tmc_app_secret"): secret}
        missing = " and ".join(name for name, value in given.items() if not value)
        if key or secret:
            there = next(name for name, value in given.items() if value)
            raise ConfigurationError(
                f"The account default needs {missing} beside {there}.", f"Set {missing}, or leave out {there}."
            )
        if needed:
            raise ConfigurationError(
                f"The producer {OURS} needs {missing}.", f"Set {missing}; to try without the platform: relay sandbox"
            )
        return None


def least_lease_seconds(timeout_seconds: float) -> float:
    """A lease that ends while its call is in flight would let another worker send the same messages."""
    return timeout_seconds + max(1, timeout_seconds / 4)
