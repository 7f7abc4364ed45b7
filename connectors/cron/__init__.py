"""Due times as cron knows them: expressions, intervals and lists, in any time zone."""

from connectors.cron.at import AtConnector as AtConnector
from connectors.cron.connector import CronConnector as CronConnector
from connectors.cron.schedule import CronSchedule as CronSchedule
from connectors.cron.settings import CronSettings as CronSettings
from connectors.cron.settings import parse_settings as parse_settings
