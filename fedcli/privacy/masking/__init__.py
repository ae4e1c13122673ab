"""Secure aggregation (Bonawitz et al. 2017): the sum of all deltas comes out, and nobody sees one of them.

The arithmetic only, without the protocol's records: Shamir's sharing, masks, quantised deltas, their sum, and what removes the
masks. docs/protocol.md, "Masked sums: arithmetic", defines every byte; tests/golden/masking.json has vectors.
"""
