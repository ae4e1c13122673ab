"""From a label table to the class of each image, and the part that each patient belongs to."""
