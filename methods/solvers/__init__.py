"""Exchangeable parts of the methods: inner optimisers and linear solvers.

Every loop has a fixed bound and masks the tasks that are finished.
"""
