"""What ``flask chatwoot setup`` and ``teardown`` do in a Chatwoot account."""
