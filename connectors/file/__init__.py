"""Files: lines of those that grow, and those that are new in a directory."""

from connectors.file.connector import DirectoryConnector as DirectoryConnector
from connectors.file.connector import FileConnector as FileConnector
from connectors.file.directory_settings import DirectorySettings as DirectorySettings
from connectors.file.settings import FileSettings as FileSettings
