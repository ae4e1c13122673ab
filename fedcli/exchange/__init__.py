"""The drop folder: records, signatures, the ledger that trusts them, and the stores that carry them."""
