"""What operators ask: a suggestion for a text, and the composer of Chatwoot."""
