"""Where a federation stands, once or again and again."""
