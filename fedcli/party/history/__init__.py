"""A drop folder's whole history as a party reads it: every record that verifies, and a problem for each that does not."""
