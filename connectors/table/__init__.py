"""Tables as sources: see :mod:`connectors.table.connector`."""

from connectors.table.connector import TableConnector

__all__ = ["TableConnector"]
