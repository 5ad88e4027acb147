"""The durable queue: jobs, drafts and transcripts in one database."""
