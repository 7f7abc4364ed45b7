"""Due times as cron knows them: expressions, intervals and lists, in any time zone."""

from connectors.cron.connector import CronConnector as CronConnector
from connectors.cron.schedule import CronSchedule as CronSchedule
from connectors.cron.settings import CronSettings as CronSettings
from connectors.cron.settings import parse_settings as parse_settings
from connectors.cron.simulate import SimulatedFiring as SimulatedFiring
from connectors.cron.simulate import simulate as simulate
from connectors.times import due_between as due_between
from connectors.times import instant as instant
from connectors.times import jitter_offset as jitter_offset
from connectors.times import key as key
