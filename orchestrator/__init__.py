"""The long-lived control plane beside a Bacalhau cluster: triggers, state, retries."""

__version__ = "0.1.0"
