"""What fedcli writes for people: counts and durations in words, and the text of others made visible and harmless."""
