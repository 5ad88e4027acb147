"""A client of Chatwoot's Application API, built on ``requests``.

Works without Flask::

    client = ChatwootClient("https://chatwoot.example.com", 1, token)
    client.create_message(42, "On its way.")
"""

from flask_chatwoot.payloads.channels import split as split

from .api import ChatwootClient as ChatwootClient
