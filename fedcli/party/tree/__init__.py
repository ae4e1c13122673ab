"""Trees of federations: what a region sums, sends above and takes from above, and how a reader follows it."""
