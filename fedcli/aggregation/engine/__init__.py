"""The pass over files: rows, buffers and threads below the rules."""
