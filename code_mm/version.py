"""The version of code_mm, in one place."""

__version__ = '0.1.0'
