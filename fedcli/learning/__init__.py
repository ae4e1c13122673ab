"""The paper's local training and its evaluation."""
