"""The command line: typer and rich live here and in `render`, nowhere else."""
