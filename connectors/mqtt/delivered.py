"""A message of paho's, as what it is to this connector."""

from __future__ import annotations

import base64
from typing import Any

from paho.mqtt.client import MQTTMessage

from connectors import jsontext
from connectors.abc import JSON
from connectors.mqtt.messages import Received


def received_from(message: MQTTMessage) -> Received:
    """What was delivered. What is no text of UTF-8 where MQTT has text is made one."""
    try:
        topic = message.topic
    except UnicodeDecodeError:
        topic = "\ufffd"
    told: Any = message.properties
    pairs: list[tuple[str, str]] = getattr(told, "UserProperty", None) or []
    headers: dict[str, JSON] = {}
    for name, key in (("ContentType", "content_type"), ("ResponseTopic", "response_topic")):
        if isinstance(value := getattr(told, name, None), str):
            headers[key] = _plain(value)
    if isinstance(data := getattr(told, "CorrelationData", None), bytes):
        headers["correlation"] = base64.b64encode(data).decode()
    return Received(
        packet=message.mid if message.qos else 0,
        qos=message.qos,
        again=message.dup,
        retained=message.retain,
        topic=_plain(topic),
        content=bytes(message.payload),
        properties=[(_plain(name), _plain(value)) for name, value in pairs],
        headers=headers,
    )


def _plain(text: str) -> str:
    if jsontext.text_fault(text) is None:
        return text
    return text.encode("utf-8", "replace").decode().replace("\0", "\ufffd")
