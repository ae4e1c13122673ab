"""Networks as a plan names them, and what is special in their layers."""
