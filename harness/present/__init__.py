"""From findings to what a person reads: tables and plots."""
