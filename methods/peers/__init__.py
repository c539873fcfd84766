"""Adapters over other libraries, each used as its own tutorial uses it: that is what is compared.

A library sees one task at a time, so these loop over the tasks; a module's name never is its library's.
"""
