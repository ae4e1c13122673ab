"""Classifiers by the name that a plan gives them, their weights, and what is special in their layers.

`registry` builds a network: its own small one, one of torchvision's (`classifiers`, with ImageNet weights from a file that
`pretrained` reads), or one from an installed package. `weights` turns a network into arrays and back. `batch_norm` finds the
BatchNorm layers and measures their statistics; `precision` and `recomputation` decide how outputs are computed in training.
"""
