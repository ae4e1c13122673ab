"""A prepared data set: its files, its index, and what it is in sum."""
