"""The outer loop: meta-steps, selection on validation tasks, evaluation on fresh ones, and resuming it."""
