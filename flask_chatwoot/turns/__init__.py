"""One attempt at a job: from the customer's messages to posts in Chatwoot."""
