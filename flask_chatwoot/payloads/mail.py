"""Which e-mails machines wrote. Pure functions."""

import re
import typing as t

from .fields import Object, as_text

_MACHINES: t.Final = re.compile(
    r"(?:(?:mailer|mail)[-_.]?daemon|postmaster|bounces|bounce(?=[-_.+=])"
    # As in orders-noreply@ or no-reply2@.
    r"|(?:[^@]*[-_.+])?(?:no|do[-_.]?not)[-_.]?reply\d*"
    # Exchange sends its reports from such an address.
    r"|microsoftexchange[0-9a-f]{32}|auto[-_.]?(?:reply|responder))"
    # As in noreply-orders@ or bounces+4711@.
    r"(?:[-_.+=][^@]*)?@.+",
    re.IGNORECASE,
)
"""Addresses from which only machines write, and at which nobody reads an answer."""

_LONGEST: t.Final = 320
"""Characters of an address in SMTP; a longer one would take long to match."""


def is_by_machine(mail: Object, sender: Object) -> bool:
    """Whether a machine wrote an e-mail; an answer could cause a mail loop.

    Chatwoot flags what says so in its headers since 4.5 (``auto_reply?`` in
    ``app/presenters/mail_presenter.rb``). Bounces often do not say so. Its ``from`` is
    the mail's Reply-To where there is one, so a form on a website that writes from a
    ``no-reply`` address in the name of a customer is no machine.

    :param mail: What Chatwoot read of it; empty if the message is no e-mail.
    :param sender: The contact, who is not the author of a bounce in the conversation
        of the mail that bounced (``app/mailboxes/mailbox_helper.rb``).
    """
    if not mail:
        return False

    listed = mail.get("from")
    given = listed if isinstance(listed, list) else [listed]
    authors = [each for each in map(as_text, given) if each]
    contact = as_text(sender.get("email"))

    if not authors and contact:
        authors = [contact]

    flagged = mail.get("auto_reply") is True or _is_report(mail)

    return flagged or (bool(authors) and all(map(_is_machine, authors)))


def _is_machine(address: str) -> bool:
    return len(address) <= _LONGEST and bool(_MACHINES.fullmatch(address))


def _is_report(mail: Object) -> bool:
    """Whether it is a report on another mail, such as a bounce or a read receipt."""
    kind = as_text(mail.get("content_type")) or ""

    return kind.lstrip()[: len(_REPORT)].casefold() == _REPORT


_REPORT: t.Final = "multipart/report"
