"""What commands print, where it can be printed."""

from __future__ import annotations

import codecs
import contextlib
import io
import os
import sys
import typing as t

import click

_ENCODE: t.Final = "flask_chatwoot"
"""How streams write characters that their encoding does not have."""

_IN_ASCII: t.Final = {"✓": "ok", "✗": "X", "→": "->", "…": "..."}

_FAILED: t.Final = f"{__name__}.failed"


def _encode(error: UnicodeError) -> tuple[str, int]:
    """Our own signs in ASCII, and of others the codes."""
    if not isinstance(error, UnicodeEncodeError):
        raise error

    return "".join(
        _IN_ASCII.get(sign) or sign.encode("ascii", "backslashreplace").decode()
        for sign in error.object[error.start : error.end]
    ), error.end


codecs.register_error(_ENCODE, _encode)


def accept_every_character() -> None:
    """Let no character stop a command, as in consoles and pipes with a code page."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors in _UNWANTED:
            stream.reconfigure(errors=_ENCODE)


_UNWANTED: t.Final = ("strict", "backslashreplace")
"""What Python sets by itself; whoever sets anything else wants that."""


def show(text: str) -> None:
    """Print the result of a command that changes nothing.

    :raises ClickException: It cannot be printed. (Click itself ends the command when
        whoever reads a pipe has ended.)
    """
    try:
        _print(text)
    except BrokenPipeError:
        raise
    except OSError as error:
        _discard_stdout()
        raise click.ClickException(f"{_what(error)}.") from None


def tell(text: str) -> None:
    """Print a line of a command that changes something, or keeps running.

    Raises nothing: where stdout cannot be written, the line goes to stderr, and
    :func:`fail_if_untold` is for the end.
    """
    if _is_untold():
        _tell_on_stderr(text)
        return

    try:
        _print(text)
    except OSError as error:
        click.get_current_context().meta[_FAILED] = error
        _discard_stdout()
        _tell_on_stderr(text)


def confirm(question: str) -> bool:
    """Ask where the lines before the question went.

    :raises Abort: The answer is no.
    """
    return click.confirm(question, abort=True, err=_is_untold())


def _is_untold() -> bool:
    return sys.stdout is None or _FAILED in click.get_current_context().meta


def fail_if_untold(ctx: click.Context) -> None:
    """End a command whose lines went to stderr.

    :raises ClickException: They did.
    """
    if (error := ctx.meta.get(_FAILED)) is not None:
        raise click.ClickException(f"{_what(error)}; nothing else failed.")


def counted(count: int, noun: str) -> str:
    """A number and its noun, whose plural has an "s"."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _what(error: OSError) -> str:
    return f"Standard output cannot be written: {error.strerror}"


def _print(text: str) -> None:
    # Click takes ASCII for a mistake, and writes UTF-8.
    if _is_ascii(sys.stdout):
        text = text.encode("ascii", _ENCODE).decode()

    click.echo(text)


def _is_ascii(stream: t.Any) -> bool:
    try:
        return codecs.lookup(stream.encoding).name == "ascii"
    except (AttributeError, LookupError, TypeError):
        return False


def _tell_on_stderr(text: str) -> None:
    with contextlib.suppress(OSError):
        click.echo(text, err=True)


def _discard_stdout() -> None:
    """Write no more there: at exit, Python would fail with what is left."""
    stream = sys.__stdout__

    if stream is not None and sys.stdout is stream:
        with contextlib.suppress(OSError, ValueError), open(os.devnull, "w") as nothing:
            os.dup2(nothing.fileno(), stream.fileno())
