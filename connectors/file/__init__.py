"""Files: lines of those that grow, and those that are new in a directory."""

from connectors.file.connector import FileConnector as FileConnector
from connectors.file.settings import FileSettings as FileSettings
