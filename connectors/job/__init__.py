"""Jobs that are asked for one by one: templates with parameters, and runs that follow others."""

from connectors.job.connector import JobConnector as JobConnector
from connectors.job.settings import JobSettings as JobSettings
