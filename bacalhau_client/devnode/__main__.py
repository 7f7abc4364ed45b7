"""`python -m bacalhau_client.devnode`."""

import sys

from .cli import main

sys.exit(main())
