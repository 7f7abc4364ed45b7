"""Settings of the daemon: from options, the environment and `orch.yaml`, in this order."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

import specs
from connectors.abc import SettingsError
from connectors.broker.address import parse
from orchestrator.domain.clock import DAY, SECOND

FILE = "orch.yaml"
SECRETS = frozenset({"bacalhau_token", "bacalhau_password", "announce_password"})
"""Settings that have no option: a command line is there for every user of the machine to read."""


class ConfigError(Exception):
    """Settings that cannot be used: a list of sentences with place, reason and remedy."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("\n".join(problems))


def _duration(value: object) -> object:
    return specs.duration(value) if isinstance(value, str) else value


Duration = Annotated[int, BeforeValidator(_duration)]
"""Microseconds; text such as `30d` is read."""


def split_listen(listen: str) -> tuple[str, int]:
    """`HOST:PORT` in two, the brackets of IPv6 taken off. Raises ValueError."""
    host, separator, port = listen.rpartition(":")
    if not separator or not host or not port.isdecimal() or int(port) > 65535:
        raise ValueError("write HOST:PORT, such as 127.0.0.1:7070; port 0 takes a free one")
    if ":" in host and not (host.startswith("[") and host.endswith("]")):
        raise ValueError(f"put an IPv6 address in brackets: [{host}]:{port}")
    return host.strip("[]"), int(port)


class Config(BaseModel):
    """What `orch serve` runs with. Durations in microseconds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data_dir: Path = Field(
        default=Path("orch-data"),
        description="Directory of the store, its key and the logs; made if absent.",
    )
    bacalhau: str = Field(
        default="http://127.0.0.1:1234", description="Address of the Bacalhau orchestrator."
    )
    bacalhau_token: str | None = Field(
        default=None, repr=False, description="API key that Bacalhau asks for."
    )
    bacalhau_user: str | None = Field(default=None, description="User name for basic auth.")
    bacalhau_password: str | None = Field(
        default=None, repr=False, description="Password for basic auth."
    )
    bacalhau_ca: Path | None = Field(
        default=None, description="PEM file of the authority behind Bacalhau's certificate."
    )
    connect_timeout: Duration = Field(
        default=5 * SECOND, gt=0, description="Longest wait for a connection to Bacalhau."
    )
    # A node cuts its own work off at 30 s.
    read_timeout: Duration = Field(
        default=40 * SECOND, gt=0, description="Longest wait for an answer of Bacalhau."
    )
    listen: str = Field(
        default="127.0.0.1:7070",
        description="HOST:PORT of the HTTP API. Any but loopback needs a token first.",
    )
    database: str | None = Field(
        default=None,
        description="postgresql://… or sqlite:///FILE; without it SQLite in the data directory.",
    )
    key_file: Path | None = Field(
        default=None,
        description="File of the key that seals what is stored; else orch.key in the data "
        "directory.",
    )
    public_url: str | None = Field(
        default=None, description="Address under which others reach this orchestrator."
    )
    tls_cert: Path | None = Field(default=None, description="PEM file of the API's certificate.")
    tls_key: Path | None = Field(default=None, description="PEM file of its key.")
    allow_private_callbacks: bool = Field(
        default=False, description="Let callbacks go to private and loopback addresses."
    )
    announce: str | None = Field(
        default=None,
        description="mqtt://HOST:PORT or mqtts://HOST:PORT of the broker on which the state of "
        "each run is published.",
    )
    announce_user: str | None = Field(default=None, description="User name at that broker.")
    announce_password: str | None = Field(
        default=None, repr=False, description="Password at that broker."
    )
    announce_ca: Path | None = Field(
        default=None, description="PEM file of the authority behind that broker's certificate."
    )
    announce_keep: Duration = Field(
        default=3600 * SECOND,
        ge=SECOND,
        description="How long that broker keeps how a run has ended.",
    )
    max_in_flight: int = Field(
        default=32, ge=1, le=100_000, description="Jobs in the cluster at once, of all triggers."
    )
    send_threads: int = Field(default=8, ge=1, le=64, description="Threads that submit jobs.")
    poll_threads: int = Field(default=8, ge=1, le=64, description="Threads that ask for jobs.")
    polls_per_second: float = Field(
        default=50.0, gt=0, le=10_000, description="Questions about jobs a second, at most."
    )
    source_threads: int = Field(
        default=8, ge=1, le=64, description="Threads that read the sources of stream triggers."
    )
    hang_after: Duration = Field(
        default=120 * SECOND,
        gt=0,
        description="After this a connector's call that does not come back is given up.",
    )
    keep: Duration = Field(
        default=30 * DAY, gt=0, description="How long ended runs stay, such as 30d."
    )
    max_spec_bytes: int = Field(
        default=512 * 1024,
        ge=4096,
        le=900 * 1024,
        description="Largest rendered job that is sent, in bytes.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="debug, info, warning or error."
    )
    log_json: bool = Field(default=False, description="Log one JSON object a line.")

    @model_validator(mode="after")
    def _fits_together(self) -> Config:
        split_listen(self.listen)
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("tls_cert and tls_key belong together: give both or none")
        if self.bacalhau_password is not None and self.bacalhau_user is None:
            raise ValueError("bacalhau_password is given without bacalhau_user: give both")
        for name in ("announce_user", "announce_ca"):
            if getattr(self, name) is not None and self.announce is None:
                raise ValueError(f"{name} is given without announce: give the broker's address")
        if self.announce_password is not None and self.announce_user is None:
            raise ValueError("announce_password is given without announce_user: give both")
        if self.announce is not None:
            try:
                address = parse(self.announce)
            except SettingsError as error:
                problem = error.problems[0]
                raise ValueError(f"{problem.message}: for announce {problem.remedy}") from error
            if self.announce_ca is not None and not address.tls:
                raise ValueError("announce_ca does nothing with mqtt://: write mqtts://")
        return self


def option_name(setting: str) -> str:
    """The option of a setting: `--data-dir`."""
    return "--" + setting.replace("_", "-")


def variable_name(setting: str) -> str:
    """The environment variable of a setting: `ORCH_DATA_DIR`."""
    return f"ORCH_{setting.upper()}"


def is_duration(setting: str) -> bool:
    """Whether a setting is written as a duration."""
    return any(
        isinstance(mark, BeforeValidator) and mark.func is _duration
        for mark in Config.model_fields[setting].metadata
    )


def load(
    options: Mapping[str, Any], environment: Mapping[str, str], file: Path | None = None
) -> Config:
    """Settings from options (None: not given), then the environment, then a file.

    Without `file` it is `ORCH_CONFIG`, or `orch.yaml` in the working directory where there is one.
    Raises ConfigError with every problem.
    """
    values, places, problems = _from_file(_choose(file, environment))
    for name in Config.model_fields:
        given, place = options.get(name), option_name(name)
        if given is None:
            # An empty variable is what a shell leaves of one that was never set.
            given, place = environment.get(variable_name(name)) or None, variable_name(name)
        if given is not None:
            values[name], places[name] = given, place
    for name, value in values.items():
        if name in Config.model_fields and is_duration(name) and not isinstance(value, str):
            problems.append(f"{places[name]}: {value!r} has no unit: write 30s, 5m or 30d")
    if problems:
        raise ConfigError(problems)
    try:
        return Config.model_validate(values)
    except pydantic.ValidationError as error:
        raise ConfigError([_sentence(e, places) for e in error.errors()]) from error


def _choose(file: Path | None, environment: Mapping[str, str]) -> Path | None:
    if file is None and environment.get("ORCH_CONFIG"):
        file = Path(environment["ORCH_CONFIG"])
    if file is not None:
        return file
    return Path(FILE) if Path(FILE).exists() else None


def _from_file(file: Path | None) -> tuple[dict[str, Any], dict[str, str], list[str]]:
    if file is None:
        return {}, {}, []
    try:
        with file.open("rb") as stream:
            text = stream.read(specs.MAX_TEXT + 1)
    except OSError as error:
        remedy = "give a file that this user can read"
        raise ConfigError([f"{file}: {error.strerror or error}: {remedy}"]) from error
    if not text.strip():
        return {}, {}, []
    try:
        document = specs.load(text, file=str(file))
    except specs.SpecError as error:
        raise ConfigError([str(problem) for problem in error.problems]) from error
    places: dict[str, str] = {}
    problems: list[str] = []
    for key in document.data:
        line, _ = document.position((key,)) or (None, None)
        places[key] = f"{file}:{line}: {key}" if line else f"{file}: {key}"
        if key not in Config.model_fields:
            near = specs.nearest(key, Config.model_fields)
            known = (
                f"did you mean {near!r}?" if near else f"known are {', '.join(Config.model_fields)}"
            )
            problems.append(f"{places[key]}: unknown key: {known}")
    return dict(document.data), places, problems


def _sentence(error: Any, places: Mapping[str, str]) -> str:
    """One of pydantic's errors, told with the place where the value was written."""
    reason, _, remedy = str(error["msg"]).removeprefix("Value error, ").partition(". ")
    message = specs.sentence(reason, remedy)
    name = str(error["loc"][0]) if error["loc"] else ""
    if not name:
        # A rule over several settings: where it names one that was given, that is the place.
        name = next((n for n in Config.model_fields if n in message and n in places), "")
        if message.startswith("write HOST:PORT") or "IPv6" in message:
            name = "listen"
    if not name:
        return message
    place = places.get(name, name)
    given = str(error["input"])[:80]
    # Some messages quote the value themselves.
    shown = "" if name in SECRETS or not error["loc"] or repr(given) in message else f"{given!r}: "
    return f"{place}: {shown}{message[:1].lower()}{message[1:]}"
