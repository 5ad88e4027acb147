"""Catch-up: asks Chatwoot for what was not delivered."""
