"""The texts in French."""

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
"""What operators read."""

PAGE: t.Final[t.Mapping[str, str | t.Mapping[str, str]]] = {
    # the frame
    "language_name": "Français",
    "playground": "Bac à sable",
    "version": "Version simulée de Chatwoot, tout recommence",
    "kind": "Comment Chatwoot joint l'application, tout recommence",
    "kind_account": "Webhook",
    "kind_bot": "Agent bot",
    "parts": "Parties de la page",
    "language": "Langue",
    "connected": "Connecté",
    "disconnected": "Connexion perdue. Reconnexion en cours.",
    "failed": "La requête a échoué : {why}",
    "new_items": {"one": "{count} nouveau", "other": "{count} nouveaux"},
    # the customer
    "customer": "Client",
    "customer_about": "Ce que voit un visiteur de votre site",
    "greeting": "À votre service",
    "new_conversation": "Nouvelle conversation",
    "pre_chat": "Dites-nous qui vous êtes et comment nous pouvons vous aider.",
    "name": "Votre nom",
    "name_example": "Ada Lovelace",
    "whom": "À qui voulez-vous écrire ?",
    "choose": "Veuillez choisir",
    "bot_option": "Agent IA",
    "human_option": "Humain",
    "first_message": "Premier message",
    "first_message_example": "Comment pouvons-nous vous aider ?",
    "start": "Démarrer la conversation",
    "customer_log": "Conversation avec Acme",
    "is_resolved": "Cette conversation est résolue.",
    "start_anew": "Démarrer une nouvelle conversation",
    "your_message": "Votre message",
    "attach": "Joindre un fichier",
    "chosen_files": "Fichiers à envoyer",
    "remove": "Retirer {name}",
    "send": "Envoyer",
    "is_typing": "L'agent IA écrit…",
    "you": "Vous",
    "author_bot": "Agent IA",
    "author_system": "Acme",
    "picked": "{title}, choix retenu",
    # the operator
    "operator": "Conseiller",
    "operator_about": "Ce que voit votre équipe dans Chatwoot",
    "conversations": "Conversations",
    "unread": {"one": "non lu", "other": "non lus"},
    "nothing_yet": (
        "Aucune conversation pour le moment. Écrivez un message en tant que client."
    ),
    "actions": "Actions sur la conversation",
    "assign_me": "M'assigner",
    "unassign": "Retirer l'assignation",
    "return_to_bot": "Rendre au bot",
    "resolve": "Résoudre",
    "reopen": "Rouvrir",
    "assigned_to": "Assignée à {name}",
    "unassigned": "Non assignée",
    "who_sees": "Qui voit le message",
    "reply": "Répondre",
    "private_note": "Note privée",
    "reply_text": "Réponse au client",
    "note_text": "Une note que seule votre équipe voit",
    "send_reply": "Envoyer la réponse",
    "add_note": "Ajouter la note",
    "suggest": "Suggérer une réponse",
    "thinking": "Copilot réfléchit",
    "follow_up": "Précisez votre demande à Copilot, ou posez une autre question...",
    "ask_again": "Demander à nouveau",
    "suggested": "Réponse suggérée",
    "discard": "Ignorer",
    "accept": "Accepter",
    "only_team": "Note privée, visible seulement par votre équipe",
    "status_open": "Ouverte",
    "status_pending": "En attente",
    "status_resolved": "Résolue",
    "status_snoozed": "Reportée",
    "mode_bot": "Bot",
    "mode_human": "Humain",
    "activity_open": "{name} a rouvert la conversation",
    "activity_pending": "{name} a mis la conversation en attente",
    "activity_resolved": "{name} a résolu la conversation",
    "activity_snoozed": "{name} a reporté la conversation",
    "activity_taken": "{name} s'est assigné la conversation",
    "activity_given": "{name} a assigné la conversation à {whom}",
    "activity_left": "{name} a retiré l'assignation de la conversation",
    "activity_written": "Un nouveau message a rouvert la conversation.",
    "activity_bot_failed": "Une erreur de l'agent bot a ouvert la conversation.",
    "announce_note": "Note privée : {text}",
    "announce_status": "Conversation {id} : {status}",
    # the traffic
    "traffic": "Trafic",
    "traffic_about": "Les requêtes HTTP entre Chatwoot et votre application",
    "no_traffic": (
        "Aucun trafic pour le moment. Chaque livraison et chaque appel d'API "
        "figurera ici."
    ),
    "filter": "Quelle conversation",
    "all_conversations": "Toutes les conversations",
    "only_conversation": "Seulement la conversation {id}",
    "faults": "Pannes",
    "no_faults": "aucune",
    "api_does": "Quand votre application écrit, Chatwoot",
    "api_none": "fonctionne",
    "api_error": "répond 500",
    "api_limit": "répond 429",
    "api_cut": "enregistre, puis coupe",
    "also": "En plus",
    "fault_slow": "Réponse lente",
    "fault_duplicate": "Livrer deux fois",
    "fault_forged": "Falsifier une signature",
    "line_delivery": "Chatwoot → appli",
    "line_call": "appli → Chatwoot",
    "line_question": "éditeur → appli",
    "line_crash": "exception dans votre application :",
    "no_answer": "pas de réponse",
    "attempt": "tentative {attempt}",
    "signature_valid": "signé",
    "signature_wrong": "signature incorrecte",
    "signature_absent": "non signé",
    "signature_token_user": "jeton utilisateur",
    "signature_token_bot": "jeton de bot",
    "signature_key": "clé",
    "signature_none": "sans jeton",
    "working": "en cours…",
    "again": "Renvoyer",
    "again_label": "Renvoyer la livraison {number}",
    "loading": "Chargement…",
    "part_headers": "En-têtes",
    "part_request": "Requête",
    "part_answer": "Réponse",
    "part_path": "Adresse",
    "part_traceback": "Trace d'appels",
}
"""What the page of the playground shows."""
