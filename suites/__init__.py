"""Suites: one TOML file each; see DESIGN in CONTRIBUTING.md for the keys."""
