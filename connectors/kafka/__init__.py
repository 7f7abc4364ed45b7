"""Kafka: the partitions of a topic, vended to short jobs."""

from connectors.kafka.connector import KafkaConnector as KafkaConnector
from connectors.kafka.settings import KafkaSettings as KafkaSettings
from connectors.kafka.settings import parse_settings as parse_settings
