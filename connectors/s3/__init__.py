"""S3: new objects in a bucket become events, by listing and by notifications."""

from connectors.s3.connector import S3Connector as S3Connector
from connectors.s3.settings import S3Settings as S3Settings
