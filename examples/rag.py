"""A shop's bot that answers from a folder of Markdown, and says where it is written.

The index is SQLite's full-text search, so nothing leaves this machine::

    flask --app examples/rag.py chatwoot playground
"""

import re
import sqlite3
from pathlib import Path

from flask import Flask

from flask_chatwoot import Chatwoot, Handoff, Reply

SITE = "https://shop.example.com/help"
WORD = re.compile(r"\w+")
COMMON = """
    a about an and any are can could did do does for from get give have hello hi how i
    if in is it me much my not of on or please tell thank thanks that the this to
    was we what when where which who why will with would you your"""
TABLE = "section USING fts5(heading, body, page UNINDEXED, tokenize = 'porter')"
FIND = "SELECT * FROM section WHERE section MATCH ? ORDER BY bm25(section, 4, 1)"


def read(folder: Path) -> sqlite3.Connection:
    """Index the sections of all pages. SQLite lets threads share the connection."""
    index = sqlite3.connect(":memory:", check_same_thread=False)
    index.execute(f"CREATE VIRTUAL TABLE {TABLE}")

    for path in sorted(folder.glob("*.md")):
        for section in path.read_text(encoding="utf-8").split("\n## ")[1:]:
            heading, _, body = section.partition("\n")
            row = (heading, " ".join(body.split()), path.stem)
            index.execute("INSERT INTO section VALUES (?, ?, ?)", row)

    return index


index = read(Path(__file__).parent / "help")
app = Flask(__name__)
chatwoot = Chatwoot(app)


@chatwoot.reply_provider
def answer(text: str) -> str | Reply:
    words = {*WORD.findall(text.casefold())} - {*COMMON.split()}

    if not words:
        return "Hello! Ask me about delivery, payment or returns."

    found = index.execute(FIND, [" OR ".join(f'"{word}"' for word in words)]).fetchone()

    if found is None:
        return Reply("I have to ask a colleague.", handoff=Handoff("nothing was found"))

    heading, body, page = found
    return f"{body}\n\nFrom [{heading}]({SITE}/{page})"
