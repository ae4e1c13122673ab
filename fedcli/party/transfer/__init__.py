"""Files on their way: artifacts that are received, opened and sent, and tars."""
