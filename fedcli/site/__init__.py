"""What a site's commands share: local training, the choice of its best model, scoring, and the check of what leaves."""
