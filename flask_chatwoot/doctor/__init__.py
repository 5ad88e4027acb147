"""What ``flask chatwoot doctor`` checks."""
