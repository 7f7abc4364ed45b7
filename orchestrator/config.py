"""Settings of the daemon: from options, the environment and `orch.yaml`, in this order."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from orchestrator.domain.clock import DAY, SECOND


class Config(BaseModel):
    """What `orch serve` runs with. Durations in microseconds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data_dir: Path = Path("orch-data")
    bacalhau: str = "http://127.0.0.1:1234"
    bacalhau_token: str | None = Field(default=None, repr=False)
    bacalhau_user: str | None = None
    bacalhau_password: str | None = Field(default=None, repr=False)
    bacalhau_ca: Path | None = None
    connect_timeout: int = Field(default=5 * SECOND, gt=0)
    read_timeout: int = Field(default=40 * SECOND, gt=0)  # a node cuts its own work off at 30 s
    listen: str = "127.0.0.1:7070"
    database: str | None = None
    key_file: Path | None = None
    public_url: str | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    max_in_flight: int = Field(default=32, ge=1, le=100_000)
    send_threads: int = Field(default=8, ge=1, le=64)
    poll_threads: int = Field(default=8, ge=1, le=64)
    polls_per_second: float = Field(default=50.0, gt=0, le=10_000)
    keep: int = Field(default=30 * DAY, gt=0)
    max_spec_bytes: int = Field(default=512 * 1024, ge=4096, le=900 * 1024)
    log_level: str = "info"
    log_json: bool = False
