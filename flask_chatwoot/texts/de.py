"""What operators read, in German."""

from __future__ import annotations

import typing as t

TEXTS: t.Final[t.Mapping[str, str | t.Mapping[str, str]]] = {
    "handoff": "**Der Bot übergibt diese Konversation.**",
    "reason": "Grund: {reason}",
    "wrote": {
        "one": "Der Kunde schrieb:",
        "other": "Der Kunde schrieb {count} Nachrichten:",
    },
    "answered": "Der Bot antwortete:",
    "failed": "**Der Bot konnte nicht antworten.**",
    "failed_provider_failed": (
        "Seine Antwortfunktion ist bei jedem Versuch fehlgeschlagen."
    ),
    "failed_provider_timeout": (
        "Seine Antwortfunktion hat nicht rechtzeitig geantwortet."
    ),
    "failed_provider_invalid": (
        "Seine Antwortfunktion hat etwas Unbrauchbares zurückgegeben."
    ),
    "failed_no_provider": "Es ist keine Antwortfunktion registriert.",
    "failed_refused": "Chatwoot hat seine Nachricht nicht angenommen.",
    "failed_not_chatwoot": "An Stelle von Chatwoot hat etwas anderes geantwortet.",
    "failed_redirected": "Die Adresse von Chatwoot antwortet mit einer Weiterleitung.",
    "failed_rate_limited": "Chatwoot hat zu viele Anfragen erhalten.",
    "failed_server_error": "Chatwoot ist bei jedem Versuch fehlgeschlagen.",
    "failed_unreachable": "Chatwoot war nicht erreichbar.",
    "failed_unconfirmed": (
        "Eine Antwort wurde gesendet, scheint aber nicht angekommen zu sein."
    ),
    "failed_undelivered": (
        "Der Kanal hat seine Nachricht abgelehnt: Der Kunde hat sie nicht erhalten."
    ),
    "failed_crashed": "Sein Prozess wurde bei jedem Versuch mittendrin beendet.",
    "handed_off": "Die Konversation ist übergeben.",
    "silent_empty": "Die Nachricht hat keinen Inhalt, den der Bot lesen kann.",
    "silent_no_answer": "Der Bot hat keine Antwort.",
    "silent_no_provider": "Der Bot hat keine Antwortfunktion für diesen Modus.",
    "silent_too_old": "Die Nachricht ist älter als CHATWOOT_MAX_AGE.",
    "loop_repeated_text": "Derselbe Text kam immer wieder, wie von einem Automaten.",
    "loop_too_many_turns": (
        "In einer Stunde kamen zu viele Nachrichten, wie von einem Automaten."
    ),
    "too_old": (
        "**Der Bot hat nicht geantwortet.** Die Nachricht des Kunden war älter "
        "als CHATWOOT_MAX_AGE, als der Bot sie erhielt."
    ),
    "missing": "**Soweit bekannt, wurde dieser Teil der Antwort nicht gesendet:**",
    "left_over": (
        "**Die Antwort war zu lang für den Kanal. Den Rest hat der Kunde nicht "
        "erhalten:**"
    ),
}
