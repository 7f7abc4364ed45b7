"""SQS: the messages of a queue, each in a run that succeeds or is kept."""

from connectors.sqs.connector import SqsConnector as SqsConnector
from connectors.sqs.settings import SqsSettings as SqsSettings
