"""A model as a folder that leaves the federation: what it takes and returns, and the signed records that lead to it."""
