"""The paper's LocalTraining: batches, augmentation, losses, steps, and interruption."""
