"""Where what a run is for travels: within its job, or in an object beside it.

The one place that decides this, for every connector. Without a `storage` a batch of up to 128 KiB
travels within the job; where there is one, up to 16 KiB do, because an object costs the cluster
less than a large job. A batch never exceeds `Payloads.limit`: whoever gathers events closes it
before. One event alone that does is tried within the job all the same, and refused with a reason
where the job's own limit is reached.
"""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from collections.abc import Iterator, Mapping, Sequence

from connectors.abc import JSON
from connectors.storage import address
from connectors.storage.objects import ObjectGone, ObjectStore, inline_source, part
from connectors.storage.stores import open_store
from connectors.times import MINUTE

FILE = "/orch/batch.ndjson"
"""Where a task finds its events, a line of JSON each."""
INLINE_ALONE = 128 * 2**10
"""Bytes that travel within the job, where nothing else is set up."""
INLINE_BESIDE = 16 * 2**10
"""The same, where there is a storage."""
MAX_STORED = 64 * 2**20
"""Bytes of one batch in an object."""
_NAMED = re.compile(r"u-[^/]+/([0-9a-f]{13,16})-[0-9a-f]{12}-")


def object_name(key: str, now: int) -> str:
    """What an object for the batch with this key is called, another name each time: what one run
    has left is removed while another may need the same. `now` is microseconds since the epoch."""
    return f"{now:013x}-{secrets.token_hex(6)}-{key}"


def range_name(key: str, now: int) -> str:
    """The same for a range that is read again: the same name within an hour, so that what is packed
    again and again, because it cannot be taken in, is few objects. The key is never used twice."""
    digest = hashlib.sha256(key.encode(errors="surrogatepass")).hexdigest()
    return f"{now - now % (60 * MINUTE):013x}-{digest[:12]}-{key}"


def written_at(name: str) -> int | None:
    """When an object was written at the earliest, by its name from `Payloads.stored`; None: it is
    not ours."""
    found = _NAMED.match(name)
    return None if found is None else int(found[1], 16)


class Payloads:
    """Packs what the runs of one trigger get. Thread-safe."""

    def __init__(
        self, trigger_uid: str = "", storage: str | None = None, *, keep_for: int = 0
    ) -> None:
        """`storage` is an address of :mod:`connectors.storage.address`; objects of ended runs are
        kept for so many microseconds."""
        self._uid = trigger_uid
        self._store: ObjectStore | None = None
        if storage is not None:
            self._store = open_store(address.parse(storage))
        self.keep_for = keep_for

    @property
    def _place(self) -> str:
        return f"u-{part(self._uid)}"

    @property
    def inline(self) -> int:
        """Bytes up to which a batch travels within the job."""
        return INLINE_ALONE if self._store is None else INLINE_BESIDE

    @property
    def limit(self) -> int:
        """Bytes that one run may be given."""
        return INLINE_ALONE if self._store is None else MAX_STORED

    def pack(self, name: str, content: bytes, file: str = FILE) -> Sequence[Mapping[str, JSON]]:
        """The input sources with which a task finds the content as the file `file`.

        Writes an object where there is a storage and the content is large: durable when this
        returns. The same `name` gives the same object, so give each batch its own. Raises the
        errors of :mod:`connectors.storage.objects`.
        """
        if self._store is None or len(content) <= INLINE_BESIDE:
            return [inline_source(content, file)]
        place = f"{self._place}/{part(name)}/{file.rpartition('/')[2]}"
        return [self._store.source(self._store.put(place, [content]), file)]

    def content(self, inputs: Sequence[Mapping[str, JSON]]) -> bytes | None:
        """What `pack` was given, from what it returned; None: it lies elsewhere, or is gone."""
        for source in inputs:
            match source:
                case {"Source": {"Type": "inline", "Params": {"URL": str(url)}}}:
                    return base64.b64decode(url.partition(",")[2])
                case _:
                    pass
            name = None if self._store is None else self._store.name_of(source)
            if self._store is not None and name is not None:
                try:
                    with self._store.open(name) as file:
                        return file.read()
                except ObjectGone:
                    return None
        return None

    def forget(self, inputs: Sequence[Mapping[str, JSON]]) -> None:
        """Remove the objects of a run that is over; others are passed over."""
        if self._store is not None:
            self._store.forget(inputs)

    def stored(self) -> Iterator[str]:
        """The names of this trigger's objects, after what interrupted writes have left is gone.
        Raises the errors of :mod:`connectors.storage.objects`, while it goes on, too."""
        if self._store is not None:
            place = self._place
            self._store.sweep(place)
            yield from self._store.list(place)

    def names(self, inputs: Sequence[Mapping[str, JSON]]) -> set[str]:
        """The names of the objects among a run's inputs."""
        if self._store is None:
            return set()
        found = (self._store.name_of(source) for source in inputs)
        return {name for name in found if name is not None}

    def remove(self, name: str) -> None:
        """Remove an object."""
        if self._store is not None:
            self._store.remove(name)

    def close(self) -> None:
        """Let go of connections. May be called twice."""
        if self._store is not None:
            self._store.close()


NO_STORAGE = Payloads()
"""For sources without a setting for it: whatever fits travels within the job. It has no state."""
