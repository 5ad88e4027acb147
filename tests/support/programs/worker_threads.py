"""A process whose worker threads handle jobs, and which then forks or ends.

Argument: ``fork`` or ``end``. The database is named by the environment.
"""

import asyncio
import concurrent.futures.thread
import json
import os
import sys
import threading
import time
import warnings

from flask import Flask

from flask_chatwoot import Chatwoot

app = Flask("host")
app.config.update(
    CHATWOOT_BASE_URL="http://127.0.0.1:9",
    CHATWOOT_ACCOUNT_ID=1,
    CHATWOOT_API_ACCESS_TOKEN="t",
    CHATWOOT_WORKERS=2,
    CHATWOOT_COPILOT_TOKEN="t",
    CHATWOOT_WEBHOOK_SECRET="s",
)
chatwoot = Chatwoot(app)
components = app.extensions["chatwoot"].configured
store = components.store
begun = threading.Event()


def put(number: int) -> None:
    body = {
        "event": "message_created",
        "id": number,
        "content": "Hello",
        "message_type": "incoming",
        "account": {"id": 1},
        "conversation": {"id": number},
    }
    payload = json.dumps(body).encode()
    store.queue.put(
        str(number), conversation_id=number, message_id=number, payload=payload
    )


def names() -> list[str]:
    """The names of the worker threads."""
    every = (thread.name for thread in threading.enumerate())

    return sorted(name for name in every if name.startswith("chatwoot-worker"))


def serve(number: int) -> list[str]:
    """Store a job, and wait until it is done, by the other process perhaps."""
    put(number)
    app.test_client().get("/")

    while store.inspection.jobs()[0].state != "done":
        time.sleep(0.01)

    return names()


def fork() -> None:
    """Print the workers of the parent and of a child, before and after a job."""
    warnings.simplefilter("ignore")  # of threads and fork, which are the test
    chatwoot.reply_provider(lambda text: None)
    seen: list[object] = [names(), serve(1)]
    read, write = os.pipe()
    child = os.fork()

    if not child:
        os.write(write, json.dumps([names(), serve(2)]).encode())
        components.backend.stop()
        os._exit(0)

    code = os.waitpid(child, 0)[1]
    seen += [code, json.loads(os.read(read, 10_000)), serve(3)]
    components.backend.stop()
    sys.stdout.write(json.dumps(seen))


def end() -> None:
    """Store a job while the process ends, during a turn of an async provider."""

    @chatwoot.reply_provider
    async def provide(text: str) -> None:
        begun.set()

        while not (components.backend.stopped or concurrent.futures.thread._shutdown):
            await asyncio.sleep(0.01)

        put(2)
        until = time.monotonic() + 1

        while store.inspection.jobs()[0].attempts == 0 and time.monotonic() < until:
            await asyncio.sleep(0.01)

    put(1)
    app.test_client().get("/")
    assert begun.wait(20)


if __name__ == "__main__":
    {"fork": fork, "end": end}[sys.argv[1]]()
