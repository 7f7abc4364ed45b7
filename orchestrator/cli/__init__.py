"""The command line `orch`: one file for a group of commands.

What a command needs is imported when it runs, so that `orch --help` is quick. Exit codes: 0 done,
1 the thing failed, 2 usage, 3 no orchestrator reachable.
"""

from __future__ import annotations


def main() -> None:
    """The console script."""
    from orchestrator.cli.root import run

    run()
