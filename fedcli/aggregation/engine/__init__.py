"""The pass over the files of updates: memory, threads, digests, and the sums that take the most time."""
