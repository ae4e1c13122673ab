"""The coordinator's part of a round: of plain updates, of masked ones, and in a region."""
