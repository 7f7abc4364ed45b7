"""MQTT: the messages on a filter of topics, each in a run before the broker may forget it."""

from connectors.mqtt.connector import MqttConnector as MqttConnector
from connectors.mqtt.settings import MqttSettings as MqttSettings
