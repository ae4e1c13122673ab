"""Trees of federations: what the records of a region, and those that name them, must hold."""
