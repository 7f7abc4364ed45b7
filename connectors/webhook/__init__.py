"""Webhooks: others bring their events, and prove that they are who they say."""

from connectors.webhook.connector import WebhookConnector as WebhookConnector
from connectors.webhook.settings import WebhookSettings as WebhookSettings
