"""Runs side by side: what is unlike, which points match, how far they differ, and gates on that."""
