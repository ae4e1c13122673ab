"""One module a command; each reads as the protocol's list of steps."""
