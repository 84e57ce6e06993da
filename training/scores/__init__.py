"""Scores of generated images: their mathematics, the features of real images, a run's table."""
from training.scores.evaluation import check, evaluate
from training.scores.table import chosen_checkpoint, read_scores

__all__ = ["check", "chosen_checkpoint", "evaluate", "read_scores"]
