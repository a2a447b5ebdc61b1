"""The settings of messages about signals and states."""

from __future__ import annotations

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings

from app.config.setting_types import Actions, Services, Tickers, Webhooks, WebhookSecrets

MAX_TARGETS = 10
"""Each is a value of the label `target`."""


class NotifySettings(BaseSettings):
    """A part of the server's settings (`app.config.settings.Settings`)."""

    notify_urls: Services = Field(
        (),
        alias="NOTIFY_URLS",
        description="who is told of signals through Apprise: its addresses (`discord://...`, `mailto://...`), with spaces or "
        "commas between them",
    )
    webhook_urls: Webhooks = Field(
        (),
        alias="WEBHOOK_URLS",
        description="who is told by signed webhooks (Standard Webhooks); `http://` in private networks alone. With "
        "`NOTIFY_URLS` 10 addresses at most",
    )
    webhook_secret: WebhookSecrets = Field(
        (),
        alias="WEBHOOK_SECRET",
        description="signs the webhooks: `whsec_` and 24 to 64 random bytes in base64; while it is changed, the new and "
        "the old one, comma-separated",
    )
    notify_tickers: Tickers = Field(
        ("SPY", "QQQ", "IWM"), alias="NOTIFY_TICKERS", description="the tickers that are told of, comma-separated"
    )
    notify_actions: Actions = Field(
        ("LONG", "SHORT"), alias="NOTIFY_ACTIONS", description="the signals that are told of; `NO_TRADE` may be one"
    )
    notify_min_probability: float = Field(
        0.0,
        alias="NOTIFY_MIN_PROBABILITY",
        ge=0,
        le=1,
        description="only signals whose side has at least this probability",
    )
    notify_states: bool = Field(
        True,
        alias="NOTIFY_STATES",
        description="tell also when market data become stale and recover, and when the provider refuses the key",
    )

    @model_validator(mode="after")
    def _targets_are_few_and_signed(self) -> NotifySettings:
        if len(self.notify_urls) + len(self.webhook_urls) > MAX_TARGETS:
            raise ValueError(f"NOTIFY_URLS and WEBHOOK_URLS: must name {MAX_TARGETS} addresses at most together")
        if self.webhook_urls and not self.webhook_secret:
            raise ValueError("WEBHOOK_SECRET: must be set where WEBHOOK_URLS is, so that receivers can tell who sends")
        if len(self.webhook_secret) > 2:
            raise ValueError("WEBHOOK_SECRET: must be one secret, or the new and the old one")
        return self
