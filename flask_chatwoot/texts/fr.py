"""What operators read, in French."""

from __future__ import annotations

import typing as t

TEXTS: t.Final[t.Mapping[str, str | t.Mapping[str, str]]] = {
    "handoff": "**Le bot transfère cette conversation.**",
    "reason": "Motif : {reason}",
    "wrote": {
        "one": "Le client a écrit :",
        "other": "Le client a écrit {count} messages :",
    },
    "answered": "Le bot a répondu :",
    "failed": "**Le bot n'a pas pu répondre.**",
    "failed_provider_failed": "Sa fonction de réponse a échoué à chaque tentative.",
    "failed_provider_timeout": "Sa fonction de réponse n'a pas répondu à temps.",
    "failed_provider_invalid": (
        "Sa fonction de réponse a renvoyé une valeur inutilisable."
    ),
    "failed_no_provider": "Aucune fonction de réponse n'est enregistrée.",
    "failed_refused": "Chatwoot n'a pas accepté son message.",
    "failed_not_chatwoot": "Un autre serveur a répondu à la place de Chatwoot.",
    "failed_redirected": "L'adresse de Chatwoot répond par une redirection.",
    "failed_rate_limited": "Chatwoot a reçu trop de requêtes.",
    "failed_server_error": "Chatwoot a échoué à chaque tentative.",
    "failed_unreachable": "Chatwoot est resté injoignable.",
    "failed_unconfirmed": "Une réponse a été envoyée, mais ne semble pas être arrivée.",
    "failed_undelivered": "Le canal a refusé son message : le client ne l'a pas reçu.",
    "failed_crashed": (
        "Son processus s'est arrêté en cours de route à chaque tentative."
    ),
    "handed_off": "La conversation est transférée.",
    "silent_empty": "le message n'a aucun contenu que le bot puisse lire.",
    "silent_no_answer": "le bot n'a pas de réponse.",
    "silent_no_provider": "le bot n'a pas de fonction de réponse pour ce mode.",
    "silent_too_old": "le message est plus ancien que CHATWOOT_MAX_AGE.",
    "loop_repeated_text": (
        "le même texte est arrivé à plusieurs reprises, comme envoyé par un automate."
    ),
    "loop_too_many_turns": (
        "trop de messages sont arrivés en une heure, comme envoyés par un automate."
    ),
    "too_old": (
        "**Le bot n'a pas répondu.** Le message du client était plus ancien que "
        "CHATWOOT_MAX_AGE lorsque le bot l'a reçu."
    ),
    "missing": (
        "**À notre connaissance, cette partie de la réponse n'a pas été envoyée :**"
    ),
    "left_over": (
        "**La réponse était trop longue pour le canal. Le client n'a pas reçu la "
        "suite :**"
    ),
}
