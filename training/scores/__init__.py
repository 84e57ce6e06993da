"""Scores of generated images: their mathematics, the features of real images, a run's table."""
