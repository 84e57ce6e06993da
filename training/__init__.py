"""What surrounds a training step: callbacks, checkpoints, the watch for failures, evaluation."""
