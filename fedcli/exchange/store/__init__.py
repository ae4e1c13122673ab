"""The drop folder's places: one protocol, one implementation a module."""
