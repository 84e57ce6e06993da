"""Scores of generated images: their mathematics, the features of real images, a run's table."""
from training.scores.evaluation import check, evaluate
from training.scores.table import (
    RemoveLaterScores, best_checkpoint, chosen_checkpoint, read_scores, write_scores)

__all__ = ["RemoveLaterScores", "best_checkpoint", "check", "chosen_checkpoint", "evaluate",
           "read_scores", "write_scores"]
