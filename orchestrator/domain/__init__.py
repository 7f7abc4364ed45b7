"""Pure rules of the ledger: no I/O, nothing but the standard library."""
