"""Many files, in parallel: each becomes one prepared image, or the reason why not."""
