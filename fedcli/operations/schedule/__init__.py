"""How a machine runs a party's command again and again: what cron, systemd and Slurm are given."""
