"""The daemon's loops, one a file. They never call each other: they meet in the store."""
