"""Hospitals that do not exist: breasts, scanners and archives for rehearsals and tests."""
