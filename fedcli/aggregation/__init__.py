"""How updates become a global model; one rule a file. Knows files and numpy, neither torch nor the drop folder."""
