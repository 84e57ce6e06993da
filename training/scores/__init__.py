"""Scores of generated images: their mathematics, the features of real images, a run's table."""
from training.scores.evaluation import check, evaluate
from training.scores.table import RemoveLaterScores, chosen_checkpoint, read_scores

__all__ = ["RemoveLaterScores", "check", "chosen_checkpoint", "evaluate", "read_scores"]
