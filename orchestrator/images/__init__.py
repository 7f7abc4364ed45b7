"""From a script to an image that a trigger file names: what `orch new` and `orch image` do.

    scripts, pythons    what a script is, needs and imports
    kinds, scaffold     the files that `orch new` writes for it
    references, context the name of an image, and the hash of what it is built from
    engine              docker or podman
    triggerfile         the one `Image:` of a trigger file, changed in place

Nothing here needs a store or an orchestrator.
"""

from __future__ import annotations


class ImageError(Exception):
    """It cannot be done; the message names place, reason and remedy."""
