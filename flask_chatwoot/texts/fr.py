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
    "composer_still_writing": (
        "Le brouillon est en cours de rédaction. Réessayez dans un instant."
    ),
    "composer_busy": (
        "Trop de brouillons sont en cours de rédaction. Réessayez dans un instant."
    ),
    "composer_provider_failed": (
        "La fonction de réponse de l'application a échoué. Son journal dit pourquoi."
    ),
    "composer_gave_up": "La fonction de l'application a renoncé.",
    "composer_no_suggestion": (
        "Il n'y a pas de suggestion : la fonction de réponse de l'application n'a "
        "rien répondu."
    ),
    "composer_no_reply_provider": (
        "L'application n'a pas de fonction de réponse pour cette boîte de réception."
    ),
    "composer_no_question": (
        "Il n'y a pas de suggestion : le client n'a pas encore écrit."
    ),
    "composer_no_conversation": "La requête ne désigne aucune conversation.",
    "composer_other_account": (
        "Ce n'est pas une conversation de ce compte, d'après ses messages : ils sont "
        "peut-être trop peu nombreux, trop courts, ou ont moins de 15 secondes."
    ),
    "composer_other_inbox": (
        "L'application ne répond pas dans cette boîte de réception (CHATWOOT_INBOXES)."
    ),
    "composer_no_right": (
        "Un bot ne peut pas lire les messages. Donnez à CHATWOOT_USER_ACCESS_TOKEN de"
        " l'application le jeton d'un utilisateur."
    ),
    "composer_unreadable": (
        "L'application n'a pas pu lire la conversation. Réessayez dans un instant."
    ),
    "composer_database": (
        "La base de données de l'application ne répond pas. Réessayez dans un instant."
    ),
    "composer_not_configured": "L'application n'est pas configurée pour Chatwoot.",
    "composer_no_completion_provider": (
        "L'application ne peut que suggérer des réponses : elle n'a pas de fonction "
        "pour d'autres textes."
    ),
    "composer_completion_failed": (
        "La fonction de l'application pour d'autres textes a échoué. Son journal dit "
        "pourquoi."
    ),
    "composer_no_completion": (
        "La fonction de l'application pour d'autres textes n'a donné aucun texte."
    ),
    "composer_too_slow": (
        "La fonction de l'application pour d'autres textes est trop lente. Réessayez."
    ),
    "composer_stream": (
        "L'application ne répond pas par morceaux ; stream doit être false."
    ),
    "composer_invalid": "L'application ne peut pas lire la requête.",
    "composer_too_large": (
        "La requête est trop grande pour l'application (CHATWOOT_MAX_BODY)."
    ),
    "composer_failed": "L'application a échoué. Son journal dit pourquoi.",
    "composer_wrong_key": (
        "Cette clé n'est pas celle de l'application. Comparez CAPTAIN_OPEN_AI_API_KEY"
        " dans Chatwoot, ou la clé de l'intégration OpenAI du compte, avec "
        "CHATWOOT_COPILOT_TOKEN."
    ),
    "composer_disabled": (
        "L'application ne répond pas à l'éditeur : définissez CHATWOOT_COPILOT_TOKEN."
    ),
}
