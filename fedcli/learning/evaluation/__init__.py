"""What a network predicts for images, and how well that agrees with the radiologists.

`inference` computes the probabilities of every image, `units` averages them over the images of a case, `metrics` compares cases
with the truth, and `bootstrap` adds intervals and compares two models.
"""
