"""Files of records, and the places that keep them: a directory, S3, IPFS.

``address.parse`` → ``stores.open_store`` → ``ObjectStore.put(name, body)`` → ``Stored`` →
``ObjectStore.source(stored, target)``, the input source of a job. ``batchfile.BatchFile`` makes the
body. Modules are imported by name, so that nobody loads what they do not use.
"""
