"""Accuracy of methods against one another, paired by seed and episode."""
