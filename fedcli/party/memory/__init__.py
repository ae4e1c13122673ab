"""What a party remembers of a drop folder."""
