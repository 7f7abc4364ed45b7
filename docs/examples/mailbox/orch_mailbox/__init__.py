"""Kind ``mailbox``: a run for each new message in a Maildir."""

from orch_mailbox.connector import MailboxConnector as MailboxConnector
