"""Datasets on disk: what exists, where it lies, how to get it, whether it is sound. No torch here."""
