"""Who has a conversation, and who gets an answer."""
