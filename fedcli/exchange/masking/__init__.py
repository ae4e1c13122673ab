"""Checks of the records of masked rounds."""
