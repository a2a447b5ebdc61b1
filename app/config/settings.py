"""The settings: every environment variable once, with its type, default and help. No other module reads the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import AliasChoices, Field, ValidationError, model_validator
from pydantic_settings import SettingsConfigDict

from app.config.notify_settings import NotifySettings
from app.config.replica import NAME, Replica, usable
from app.config.setting_errors import refusal
from app.config.setting_types import (
    ApiKeys,
    Closures,
    HostNames,
    HttpUrl,
    Networks,
    NewYorkMoment,
    Origins,
    PushUrl,
    RedisUrl,
    RedisUrls,
    Region,
    Secret,
    Unset,
)
from app.places import CODE, FILES, PACKAGE, data_folder

# OpenTelemetry reads this when it is imported. Other propagators may not be installed.
os.environ["OTEL_PROPAGATORS"] = "tracecontext"
MAX_REQUESTS = 1_000_000_000
MAX_STREAMS = MAX_SOCKETS = 100_000
ARTEFACTS = PACKAGE / "model" / "artefacts"
DASHBOARD = FILES / "dashboard" / "dist"


class Settings(NotifySettings):
    """The server's settings, frozen. `load()` builds them; docs/deploying.md lists them."""

    model_config = SettingsConfigDict(frozen=True, env_ignore_empty=True, extra="ignore", populate_by_name=True)

    market: Literal["polygon", "recorded", "demo"] = Field(
        "polygon",
        alias="MARKET",
        description="where bars come from; `make serve` takes `demo` if neither this nor a key is set",
    )
    host: str = Field("127.0.0.1", alias="HOST", description="address to listen on; the Procfile sets `::`")
    port: int = Field(8000, alias="PORT", ge=1, le=65535, description="port to listen on")
    data_dir: Path = Field(
        default_factory=lambda: data_folder(os.environ.get("XDG_DATA_HOME")),
        alias="DATA_DIR",
        description="folder of the track record, bars and open prices",
    )
    polygon_api_key: Secret | None = Field(
        None,
        validation_alias=AliasChoices("POLYGON_API_KEY", "MASSIVE_API_KEY"),
        description="market-data key; without it the server starts and says so",
    )
    polygon_base_url: HttpUrl = Field(
        "https://api.massive.com", alias="POLYGON_BASE_URL", description="address of the market-data provider"
    )
    polygon_delay_minutes: int = Field(
        0, alias="POLYGON_DELAY_MINUTES", ge=0, le=60, description="how late the plan's bars are (15 on delayed plans)"
    )
    polygon_calls_per_minute: int | None = Field(
        None,
        alias="POLYGON_CALLS_PER_MINUTE",
        ge=1,
        le=3000,
        description="cap on calls to the provider in any minute; default: 5 until the start-up probe finds a paid plan, "
        "then 50 a second",
    )
    market_closures: Closures = Field(
        (),
        alias="MARKET_CLOSURES",
        description="weekdays without trading (`2026-01-09`) and early closes (`2026-07-02=13:00`, New York, after 10:00 and "
        "by 16:00) that the rules do not know, comma-separated, 100 at most; they win over what the provider announces, and "
        "the demo ignores them",
    )
    redis_url: RedisUrl | None = Field(
        None,
        alias="REDIS_URL",
        description="state that workers or replicas share: record of signals, live events, running day, and what is counted; "
        "once the settings are loaded, the Redis of this replica's region",
    )
    redis_urls: RedisUrls = Field(
        (),
        alias="REDIS_URLS",
        description="a Redis for each of several regions, in place of `REDIS_URL` (`us-west2=redis://...`), comma-separated",
    )
    home_region: Region | None = Field(
        None,
        alias="HOME_REGION",
        description="the region whose record of signals is published; with a Redis, `REDIS_URLS` must name that of it",
    )
    web_concurrency: int = Field(
        1, alias="WEB_CONCURRENCY", ge=1, le=64, description="workers; several need `REDIS_URL`"
    )
    drain_seconds: int = Field(
        0,
        alias="DRAIN_SECONDS",
        ge=0,
        le=300,
        description="how long a server that is told to stop serves on with `/readyz` at 503, for a balancer that asks it and "
        "retries nothing",
    )
    market_data: Path = Field(
        Path("../shared/market"), alias="MARKET_DATA", description="folder of real bars for import, training and tests"
    )
    models_dir: Path = Field(ARTEFACTS, alias="MODELS_DIR", description="folder of the model sets")
    dashboard_dir: Path = Field(
        DASHBOARD, alias="DASHBOARD_DIR", description="folder of the built dashboard, as `make dashboard` writes it"
    )
    clock: NewYorkMoment | None = Field(
        None,
        alias="CLOCK",
        description="moment at which the recorded market's clock starts (ISO 8601; New York if without offset); outside the "
        "imported bars it stops the start; default: 09:25 of the last session that has one-minute bars for all tickers",
    )
    clock_speed: float = Field(
        1.0, alias="CLOCK_SPEED", gt=0, le=3600, description="recorded market: market seconds per real second"
    )
    clock_anchor: float | None = Field(
        None, alias="CLOCK_ANCHOR", description="set by the server itself: when CLOCK began, Unix seconds"
    )
    rate_limit_directions: int = Field(
        60,
        alias="RATE_LIMIT_DIRECTIONS",
        ge=1,
        le=MAX_REQUESTS,
        description="requests of one client for trading directions in any 60 seconds",
    )
    rate_limit_analysis: int = Field(
        120,
        alias="RATE_LIMIT_ANALYSIS",
        ge=1,
        le=MAX_REQUESTS,
        description="the same for the other answers about now (`/mtf`, `/rpe`, `/swing`, ...)",
    )
    rate_limit_replay: int = Field(
        60, alias="RATE_LIMIT_REPLAY", ge=1, le=MAX_REQUESTS, description="the same for `/replay`"
    )
    rate_limit_streams: int = Field(
        60,
        alias="RATE_LIMIT_STREAMS",
        ge=1,
        le=MAX_REQUESTS,
        description="the same for streams that begin (`/v2/trading-directions/{ticker}/stream`)",
    )
    streams_per_client: int = Field(
        10, alias="STREAMS_PER_CLIENT", ge=1, le=MAX_STREAMS, description="streams of one client at a time"
    )
    streams_in_all: int = Field(
        600, alias="STREAMS_IN_ALL", ge=1, le=MAX_STREAMS, description="streams of all clients at a time"
    )
    sockets_per_client: int = Field(
        20,
        alias="SOCKETS_PER_CLIENT",
        ge=1,
        le=MAX_SOCKETS,
        description="Socket.IO connections of one client at a time",
    )
    sockets_in_all: int = Field(
        2500, alias="SOCKETS_IN_ALL", ge=1, le=MAX_SOCKETS, description="Socket.IO connections of all clients at a time"
    )
    rate_limit_other: int = Field(
        240, alias="RATE_LIMIT_OTHER", ge=1, le=MAX_REQUESTS, description="the same for all else, errors included"
    )
    rate_limit_allow: Networks = Field(
        (),
        alias="RATE_LIMIT_ALLOW",
        description="addresses or networks of proxies whose viewers share one address, comma-separated: 100 times the "
        "limits",
    )
    trust_proxy: bool | None = Field(
        None,
        alias="TRUST_PROXY",
        description="take a client's address from `X-Real-IP`: only where a proxy sets it and nobody can go around; "
        "default: on Railway alone",
    )
    api_keys: ApiKeys = Field(
        (),
        alias="API_KEYS",
        description="API keys as `name:tier:expires:hash`, comma-separated (`predict keys new`); who has none gets "
        "half the limits once there are any",
    )
    cors_origins: Origins = Field(
        (), alias="CORS_ORIGINS", description="other origins whose pages may read v2, comma-separated"
    )
    max_connections: int = Field(
        4096,
        alias="MAX_CONNECTIONS",
        ge=16,
        le=50_000,
        description="open connections of one worker; the system's limit on open files may lower it",
    )
    max_connections_per_address: int | None = Field(
        None,
        alias="MAX_CONNECTIONS_PER_ADDRESS",
        ge=1,
        le=50_000,
        description="of them from one address; default: an eighth. No bound behind a proxy (`TRUST_PROXY`) and for "
        "`RATE_LIMIT_ALLOW`",
    )
    allowed_hosts: HostNames = Field(
        (), alias="ALLOWED_HOSTS", description="host names that are answered, comma-separated; default: any"
    )
    operations_port: int | None = Field(
        None,
        alias="OPERATIONS_PORT",
        ge=1,
        le=65535,
        description="private port on which `/metrics` needs no key; on `HOST` like `PORT`, and every other route answers "
        "there, too",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", alias="LOG_LEVEL", description="what is logged"
    )
    log_format: Literal["auto", "json", "text"] = Field(
        "auto", alias="LOG_FORMAT", description="JSON lines or text; `auto`: text on a terminal"
    )
    otlp_endpoint: HttpUrl | None = Field(
        None,
        alias="OTEL_EXPORTER_OTLP_ENDPOINT",
        description="address of a collector (Jaeger, or any that speaks OTLP over HTTP): traces go to `/v1/traces` there; "
        "none: no traces. OpenTelemetry's other variables for this exporter (headers, certificates) hold too",
    )
    otlp_traces_endpoint: HttpUrl | None = Field(
        None,
        alias="OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
        description="the whole address for traces, instead of the one above",
    )
    traces_share: float = Field(
        0.01,
        alias="OTEL_TRACES_SAMPLER_ARG",
        ge=0,
        le=1,
        description="share of the requests without a trace of their own that are recorded; ten a second at most",
    )
    service_name: str = Field(
        "predict", alias="OTEL_SERVICE_NAME", min_length=1, max_length=100, description="what traces call this server"
    )
    tracing_off: bool = Field(False, alias="OTEL_SDK_DISABLED", description="no traces, whatever else is set")
    pushgateway: PushUrl | None = Field(
        None,
        alias="METRICS_PUSHGATEWAY",
        description="address of a Prometheus Pushgateway that gets this replica's metrics every 15 seconds, where "
        "replicas cannot be scraped one by one",
    )
    multiprocess_dir: Unset | None = Field(
        None, alias="PROMETHEUS_MULTIPROC_DIR", description="must not be set: workers find each other by themselves"
    )
    workers_dir: Path | None = Field(
        None, alias="WORKERS_DIR", description="set by the server itself: where its workers find each other"
    )
    railway_replica: str | None = Field(None, alias="RAILWAY_REPLICA_ID", description="set by Railway: this replica")
    railway_region: str | None = Field(
        None,
        alias="RAILWAY_REPLICA_REGION",
        description="set by Railway: the region of this replica; elsewhere it may be set by hand",
    )
    railway_volume: Path | None = Field(
        None,
        alias="RAILWAY_VOLUME_MOUNT_PATH",
        description="set by Railway: where a volume is mounted, if there is one",
    )

    @model_validator(mode="after")
    def _redis_is_that_of_the_region(self) -> Settings:
        """Puts the Redis that REDIS_URLS names for this replica's region in place of REDIS_URL."""
        regional = dict(self.redis_urls).get(self.replica.region or "")
        if self.redis_urls and regional is None and self.redis_url is None:
            where = self.replica.region or "a replica whose RAILWAY_REPLICA_REGION is not set"
            raise ValueError(f"REDIS_URLS: names no Redis for {where}, and there is no REDIS_URL")
        object.__setattr__(self, "redis_url", regional or self.redis_url)
        return self

    @model_validator(mode="after")
    def _home_is_known(self) -> Settings:
        home, is_regional, is_told = self.home_region, bool(self.redis_urls), self.notify_urls or self.webhook_urls
        if home is None and is_regional and is_told:
            raise ValueError(
                "HOME_REGION: must be set where REDIS_URLS is and somebody is told, so that one region tells"
            )
        if home is not None and self.redis_url is not None and home not in dict(self.redis_urls):
            raise ValueError("HOME_REGION: REDIS_URLS must name its Redis, so that a server knows whether it has it")
        return self

    @model_validator(mode="after")
    def _several_workers_need_redis(self) -> Settings:
        if self.web_concurrency > 1 and self.redis_url is None:
            raise ValueError("WEB_CONCURRENCY: more than one worker needs REDIS_URL")
        return self

    @model_validator(mode="after")
    def _ports_differ(self) -> Settings:
        if self.operations_port == self.port:
            raise ValueError("OPERATIONS_PORT: must be another port than PORT")
        return self

    @property
    def traces_to(self) -> str | None:
        """The collector's URL for traces; None if there is no collector."""
        if self.tracing_off:
            return None
        return self.otlp_traces_endpoint or (self.otlp_endpoint and f"{self.otlp_endpoint}/v1/traces")

    @property
    def on_railway(self) -> bool:
        return self.railway_replica is not None

    @property
    def replica(self) -> Replica:
        """Which replica this is. A name that cannot be used is left out: the platform sets it, not the operator."""
        return Replica(usable(self.railway_region), usable(self.railway_replica))

    @property
    def ignored(self) -> list[str]:
        """A sentence for each variable that is left out."""
        names = {"RAILWAY_REPLICA_REGION": self.railway_region, "RAILWAY_REPLICA_ID": self.railway_replica}
        unusable = [name for name, value in names.items() if value is not None and usable(value) is None]
        sentences = [f"{name} is ignored: it must be {NAME}" for name in unusable]
        region = self.replica.region
        if self.redis_urls and region not in dict(self.redis_urls):
            sentences.append(
                f"REDIS_URLS names no Redis for the region {region or 'of this server'}: REDIS_URL is used"
            )
        return sentences

    @property
    def has_home_record(self) -> bool:
        """Whether the record of this server is the one that is published (ruling L2): that of the home region, or one in the
        same Redis."""
        if self.home_region is None:
            return True
        if self.redis_url is None:
            return self.replica.region == self.home_region
        return self.redis_url == dict(self.redis_urls)[self.home_region]

    @property
    def behind_proxy(self) -> bool:
        """Whether `X-Real-IP` is trusted."""
        return self.on_railway if self.trust_proxy is None else self.trust_proxy

    @property
    def connections_per_address(self) -> int | None:
        """How many connections one address may hold; None behind a proxy, whose address many clients share."""
        if self.behind_proxy:
            return None
        return self.max_connections_per_address or max(1, self.max_connections // 8)

    @property
    def can_forget(self) -> bool:
        """Whether `data_dir` is lost with the machine, as on Railway without a volume (ruling S7)."""
        return self.on_railway and self.railway_volume is None and self.redis_url is None

    @classmethod
    def settings_customise_sources(cls, _: Any, **sources: Any) -> tuple[Any, ...]:  # type: ignore[override]
        """No files of settings are looked for."""
        return sources["init_settings"], sources["env_settings"]

    @property
    def is_alone(self) -> bool:
        """Whether clients cannot come to another process (ruling A9). A server with a Redis may have replicas, and so may one
        on Railway unless a volume holds it to one."""
        return self.redis_url is None and (not self.on_railway or self.railway_volume is not None)

    @property
    def has_key(self) -> bool:
        return self.polygon_api_key is not None and bool(self.polygon_api_key.get_secret_value())


def load(**overrides: Any) -> Settings:
    """Returns the settings of the environment. `overrides`, by field name, win over it.

    Raises SettingsError with one sentence for each wrong variable.
    """
    try:
        return Settings(**overrides)
    except ValidationError as exc:
        raise refusal(exc) from None


def variables() -> Mapping[str, tuple[str, str]]:
    """Returns every environment variable with its default as text and its help."""
    table = {}
    for field in Settings.model_fields.values():
        alias = field.validation_alias
        names = alias.choices if isinstance(alias, AliasChoices) else [field.alias]
        default = field.get_default(call_default_factory=True)
        default = ",".join(default) if isinstance(default, tuple) else default
        shown = "" if default is None else str(default).removeprefix(f"{CODE}{os.sep}")
        table[" or ".join(str(name) for name in names)] = (shown, field.description or "")
    return table
