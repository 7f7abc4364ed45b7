"""Kinesis: the shards of a stream, vended to short jobs."""

from connectors.kinesis.connector import KinesisConnector as KinesisConnector
from connectors.kinesis.settings import KinesisSettings as KinesisSettings
