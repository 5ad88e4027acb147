"""A shop's app: a factory, a database with one order, 4711, and an audit trail in it.

After ``pip install sqlalchemy``: ``flask --app examples/shop.py chatwoot playground``
"""

import re
from pathlib import Path

from flask import Flask, current_app
from sqlalchemy import create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, sessionmaker

from flask_chatwoot import Chatwoot, Handoff, Post, Reply, after_post

chatwoot = Chatwoot()


class Table(DeclarativeBase): ...


class Order(Table):
    __tablename__ = "orders"
    number: Mapped[int] = mapped_column(primary_key=True)
    state: Mapped[str]


class Audit(Table):
    __tablename__ = "audit"
    id: Mapped[int] = mapped_column(primary_key=True)
    conversation: Mapped[int]
    message: Mapped[int | None]


@chatwoot.reply_provider
def answer(text: str) -> str | Reply:
    with current_app.extensions["session"]() as session:
        for number in re.findall(r"\d{1,9}", text):
            if order := session.get(Order, int(number)):
                return f"Order {number} {order.state}."

    return Reply("I have to ask a colleague.", handoff=Handoff("order was not found"))


@after_post.connect
def audit(app: Flask, post: Post, message_id: int | None, **more: object) -> None:
    with app.extensions["session"].begin() as session:
        session.add(Audit(conversation=post.conversation_id, message=message_id))


def create_app(database: str | None = None) -> Flask:
    app = Flask(__name__)
    Path(app.instance_path).mkdir(exist_ok=True)
    engine = create_engine(database or f"sqlite:///{app.instance_path}/shop.sqlite3")
    Table.metadata.create_all(engine)
    app.extensions["session"] = sessionmaker(engine)

    with app.extensions["session"].begin() as session:
        session.merge(Order(number=4711, state="left our warehouse this morning"))
    chatwoot.init_app(app)
    return app
