"""SNS: notifications of topics, brought over HTTP and signed by AWS."""

from connectors.sns.connector import SnsConnector as SnsConnector
from connectors.sns.settings import SnsSettings as SnsSettings
