"""What protects the patients beyond signatures: encrypted artifacts, secure aggregation, differential privacy."""
