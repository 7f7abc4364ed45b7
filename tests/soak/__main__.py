"""`python -m tests.soak`."""

from tests.soak.cli import main

main()
