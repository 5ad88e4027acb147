"""Use one client in a process and in its fork; the argument is the base URL."""

import os
import sys

from flask_chatwoot.client import ChatwootClient

client = ChatwootClient(sys.argv[1], 7, "token")
client.conversation(1)
child = os.fork()
client.conversation(2 if child else 3)

if child:
    status = os.waitpid(child, 0)[1]
    client.conversation(4)
    sys.exit(status)
