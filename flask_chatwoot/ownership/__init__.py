"""Who has a conversation, and who may hear an answer."""
