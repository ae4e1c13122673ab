"""What a network says about images, and how well that agrees with the radiologists."""
