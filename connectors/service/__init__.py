"""The connector ``service``."""

from connectors.service.connector import ServiceKind

__all__ = ["ServiceKind"]
