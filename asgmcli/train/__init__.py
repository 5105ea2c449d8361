"""The training loop and what it needs: averages, schedules, checkpoints, seeds, logs."""
