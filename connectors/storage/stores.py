"""Opens the store that an address names; only its own library is loaded."""

from __future__ import annotations

from collections.abc import Mapping

from connectors.storage.address import Address, DirectoryAddress, S3Address
from connectors.storage.objects import ObjectStore


def open_store(address: Address, secrets: Mapping[str, str] | None = None) -> ObjectStore:
    """The store at an address. No I/O.

    ``secrets`` by what they are: ``access_key_id``, ``secret_access_key`` and perhaps
    ``session_token`` for S3 (none: boto3's own chain: environment, files, role); ``token``, or
    ``user`` and ``password``, for IPFS. ValueError for others.
    """
    given = dict(secrets or {})
    if isinstance(address, DirectoryAddress):
        from connectors.storage.directory import DirectoryStore

        if given:
            raise ValueError("a directory takes no secrets")
        return DirectoryStore(address)
    if isinstance(address, S3Address):
        from connectors.storage.s3 import S3Store

        return S3Store(address, given)
    from connectors.storage.ipfs import IpfsStore

    return IpfsStore(address, given)
