"""Who is let in, and what is said to whom is not."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from connectors.abc import JSON
from connectors.streams import SourceError, SourceRefused, SourceUnavailable
from tests.integration.mqtt.conftest import Runner, texts
from tests.support.certificates import Certificates, make
from tests.support.kafkaprocess import free_port
from tests.support.mosquitto import Mosquitto
from tests.support.waiting import until

Own = Callable[..., Mosquitto]
_PASSWORD: JSON = {"secret": "MQTT_PASSWORD"}
_LOGIN: JSON = {"user": "orch", "password": _PASSWORD}


def _fails(runner: Runner, kind: type[SourceError], words: str) -> None:
    """Polls until that is said; nothing that is said holds a secret."""
    said: list[SourceError] = []

    def failed() -> bool:
        try:
            runner.poll()
        except SourceError as error:
            said.append(error)
        return bool(said)

    until(failed, "it fails")
    assert type(said[0]) is kind, said
    assert re.search(words, str(said[0])), said
    assert "hunter2" not in str(said[0])
    assert "sealed" not in str(said[0])


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_passwords_and_rights(own: Own, runner: Runner, protocol: str):
    """The right one is let in; a wrong one, and one that is not there, are told apart."""
    acl = "user orch\ntopic read mine/#\n\nuser peer\ntopic readwrite #\n"
    broker = own(users={"peer": "x", "orch": "hunter2"}, acl=acl)
    runner.listening(broker.url, "mine/#", security=_LOGIN, protocol=protocol)
    peer = broker.peer()
    peer.publish("mine/a", ["one"])
    assert texts(runner.come(1)) == ["one"]
    wrong: JSON = {"user": "orch", "password": {"secret": "KEY"}}
    runner.open(broker.url, "mine/#", security=wrong, protocol=protocol)
    _fails(runner, SourceRefused, "may not do this|user or the password")
    missing: JSON = {"user": "orch", "password": {"secret": "NOBODY"}}
    runner.open(broker.url, "mine/#", security=missing, protocol=protocol)
    _fails(runner, SourceRefused, "there is no secret 'NOBODY'")
    runner.open(broker.url, "mine/#", protocol=protocol)
    _fails(runner, SourceRefused, "may not do this|user or the password")
    peer.close()


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make(tmp_path_factory.mktemp("certificates"))


def test_tls_with_ones_own_authority(own: Own, runner: Runner, certificates: Certificates):
    """The broker is trusted because of it, and by nobody else."""
    broker = own(certificates=certificates)
    own_ca: JSON = {"tls": {"ca": str(certificates.authority)}}
    runner.listening(broker.url, security=own_ca)
    peer = broker.peer()
    peer.publish(f"{runner.name}/a", ["x" * 40_000, "two"])
    assert [len(text) for text in texts(runner.come(2))] == [40_000, 3]
    for other in ({"tls": {"ca": str(certificates.stranger)}}, {}):
        runner.open(broker.url, security=other)
        _fails(runner, SourceRefused, "certificate is not trusted")
    runner.open(broker.url.replace("mqtts", "mqtt"))
    _fails(runner, SourceUnavailable, "lost|no answer")
    peer.close()


def test_a_certificate_of_ones_own(own: Own, runner: Runner, certificates: Certificates):
    """The broker lets in whom it knows by a certificate; its key is sealed."""
    broker = own(certificates=certificates, more="require_certificate true")
    tls: dict[str, JSON] = {
        "ca": str(certificates.authority),
        "cert": str(certificates.client),
        "key": str(certificates.client_key),
    }
    runner.listening(broker.url, security={"tls": {**tls, "password": {"secret": "KEY"}}})
    runner.open(broker.url, security={"tls": {"ca": tls["ca"]}})
    _fails(runner, SourceUnavailable, "lost|does not answer|required|alert")
    runner.open(broker.url, security={"tls": tls})
    _fails(runner, SourceRefused, "files for TLS cannot be used")


def test_files_that_are_not_there(mosquitto: Mosquitto, runner: Runner, tmp_path: Path):
    """Are named."""
    absent: JSON = {"tls": {"ca": str(tmp_path / "absent.pem")}}
    runner.open("mqtts://127.0.0.1:1", security=absent)
    _fails(runner, SourceRefused, "absent.pem")


def test_a_session_that_another_client_takes_over(
    mosquitto: Mosquitto, runner: Runner, another: Runner
):
    """Two that use one id end each other's connection, again and again: it is said."""
    runner.open(mosquitto.url, client_id="one-for-two")
    another.open(mosquitto.url, client_id="one-for-two")
    said: list[str] = []

    def told() -> bool:
        for one in (runner, another):
            try:
                one.poll()
            except SourceError as error:
                said.append(str(error))
        return any("another client" in text for text in said)

    until(told, "it is said", within=60, show=lambda: said)


def test_nobody_there(runner: Runner):
    """Nor at a port that is silent."""
    runner.open(f"mqtt://127.0.0.1:{free_port()}")
    _fails(runner, SourceUnavailable, "does not answer")
