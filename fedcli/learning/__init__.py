"""The paper's local training and its evaluation.

`networks` builds a classifier from the name in a plan; `training` changes its weights; `evaluation` scores it. Training and
evaluation do not use one another. `samples` holds the images, and `seeds` and `determinism` make results reproducible.
"""
