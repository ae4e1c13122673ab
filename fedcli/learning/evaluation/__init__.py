"""What a network predicts for images, and how well that agrees with the radiologists.

`inference` computes the probabilities of every image, `metrics` averages them over the images of a case and compares cases with
the truth, and `bootstrap` adds intervals and compares two models. `onnx_model` is a network for other programs.
"""
