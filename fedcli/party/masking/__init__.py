"""Masked rounds: what sites prepare and answer, what the coordinator opens, closes and sums, and what everybody can recompute."""
