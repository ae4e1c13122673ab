"""A federation's figures for the tools in which people compare experiments; each writer adds only what is not there yet."""
