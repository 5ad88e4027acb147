"""Chatwoot's contract: pure functions and frozen values, without Flask or requests."""
