"""The texts in German."""

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
    "composer_still_writing": (
        "Der Entwurf wird noch geschrieben. Drücken Sie gleich noch einmal."
    ),
    "composer_busy": (
        "Es werden zu viele Entwürfe geschrieben. Drücken Sie gleich noch einmal."
    ),
    "composer_provider_failed": (
        "Die Antwortfunktion der App ist fehlgeschlagen. Warum, steht im Log der App."
    ),
    "composer_gave_up": "Die Funktion der App hat aufgegeben.",
    "composer_no_suggestion": (
        "Es gibt keinen Vorschlag: Die Antwortfunktion der App hat keine Antwort "
        "gegeben."
    ),
    "composer_no_reply_provider": (
        "Die App hat keine Antwortfunktion für diesen Posteingang."
    ),
    "composer_no_question": (
        "Es gibt keinen Vorschlag: Der Kunde hat noch nicht geschrieben."
    ),
    "composer_no_conversation": "Die Anfrage nennt keine Konversation.",
    "composer_other_account": (
        "Das ist keine Konversation dieses Kontos, soweit ihre Nachrichten es zeigen:"
        " Es sind vielleicht zu wenige, oder sie sind zu kurz oder jünger als 15 "
        "Sekunden."
    ),
    "composer_other_inbox": (
        "Die App antwortet in diesem Posteingang nicht (CHATWOOT_INBOXES)."
    ),
    "composer_no_right": (
        "Ein Agenten-Bot darf keine Nachrichten lesen. Setzen Sie "
        "CHATWOOT_USER_ACCESS_TOKEN der App auf das Token eines Benutzers."
    ),
    "composer_unreadable": (
        "Die App konnte die Konversation nicht lesen. Drücken Sie gleich noch einmal."
    ),
    "composer_database": (
        "Die Datenbank der App antwortet nicht. Drücken Sie gleich noch einmal."
    ),
    "composer_not_configured": "Die App ist nicht für Chatwoot eingerichtet.",
    "composer_no_completion_provider": (
        "Die App kann nur Antworten vorschlagen: Für andere Texte hat sie keine "
        "Funktion."
    ),
    "composer_completion_failed": (
        "Die Funktion der App für andere Texte ist fehlgeschlagen. Warum, steht im "
        "Log der App."
    ),
    "composer_no_completion": (
        "Die Funktion der App für andere Texte hat keinen Text geliefert."
    ),
    "composer_too_slow": (
        "Die Funktion der App für andere Texte braucht zu lange. Drücken Sie noch "
        "einmal."
    ),
    "composer_stream": "Die App antwortet nicht in Teilen; stream muss false sein.",
    "composer_invalid": "Die App kann die Anfrage nicht lesen.",
    "composer_too_large": "Die Anfrage ist zu groß für die App (CHATWOOT_MAX_BODY).",
    "composer_failed": "Die App ist fehlgeschlagen. Warum, steht in ihrem Log.",
    "composer_wrong_key": (
        "Der Schlüssel ist nicht der der App. Vergleichen Sie CAPTAIN_OPEN_AI_API_KEY"
        " in Chatwoot, oder den Schlüssel der OpenAI-Integration des Kontos, mit "
        "CHATWOOT_COPILOT_TOKEN."
    ),
    "composer_disabled": (
        "Die App antwortet dem Editor nicht: Setzen Sie CHATWOOT_COPILOT_TOKEN."
    ),
}
"""What operators read."""

PAGE: t.Final[t.Mapping[str, str | t.Mapping[str, str]]] = {
    # the frame
    "language_name": "Deutsch",
    "playground": "Testumgebung",
    "version": "Simulierte Version von Chatwoot, alles beginnt von vorn",
    "kind": "Wie Chatwoot die App erreicht, alles beginnt von vorn",
    "kind_account": "Webhook",
    "kind_bot": "Agenten-Bot",
    "parts": "Teile der Seite",
    "language": "Sprache",
    "connected": "Verbunden",
    "disconnected": "Verbindung verloren. Sie wird neu aufgebaut.",
    "failed": "Die Anfrage ist fehlgeschlagen: {why}",
    "new_items": "{count} neu",
    # the customer
    "customer": "Kunde",
    "customer_about": "Was ein Besucher Ihrer Website sieht",
    "greeting": "Wir helfen Ihnen gern",
    "new_conversation": "Neue Konversation",
    "pre_chat": "Sagen Sie uns, wer Sie sind und wie wir helfen können.",
    "name": "Ihr Name",
    "name_example": "Ada Lovelace",
    "whom": "Wem möchten Sie schreiben?",
    "choose": "Bitte wählen",
    "bot_option": "KI-Agent",
    "human_option": "Mensch",
    "first_message": "Erste Nachricht",
    "first_message_example": "Wie können wir helfen?",
    "start": "Konversation beginnen",
    "customer_log": "Konversation mit Acme",
    "is_resolved": "Diese Konversation ist gelöst.",
    "start_anew": "Neue Konversation beginnen",
    "your_message": "Ihre Nachricht",
    "attach": "Datei anhängen",
    "chosen_files": "Dateien, die gesendet werden",
    "remove": "{name} entfernen",
    "send": "Senden",
    "is_typing": "KI-Agent schreibt…",
    "you": "Sie",
    "author_bot": "KI-Agent",
    "author_system": "Acme",
    "picked": "{title}, ausgewählt",
    # the operator
    "operator": "Mitarbeiter",
    "operator_about": "Was Ihr Team in Chatwoot sieht",
    "conversations": "Konversationen",
    "unread": "ungelesen",
    "nothing_yet": "Noch keine Konversation. Schreiben Sie eine Nachricht als Kunde.",
    "actions": "Aktionen für die Konversation",
    "assign_me": "Mir zuweisen",
    "unassign": "Zuweisung aufheben",
    "return_to_bot": "Zurück an den Bot",
    "resolve": "Fall schließen",
    "reopen": "Wieder öffnen",
    "assigned_to": "Zugewiesen an {name}",
    "unassigned": "Nicht zugewiesen",
    "who_sees": "Wer die Nachricht sieht",
    "reply": "Antworten",
    "private_note": "Private Notiz",
    "reply_text": "Antwort an den Kunden",
    "note_text": "Eine Notiz, die nur Ihr Team sieht",
    "send_reply": "Antwort senden",
    "add_note": "Notiz hinzufügen",
    "suggest": "Antwort vorschlagen",
    "thinking": "Copilot denkt nach",
    "follow_up": (
        "Sagen Sie Copilot, was anders sein soll, oder fragen Sie etwas anderes..."
    ),
    "ask_again": "Noch einmal fragen",
    "suggested": "Vorgeschlagene Antwort",
    "discard": "Verwerfen",
    "accept": "Übernehmen",
    "only_team": "Private Notiz, nur für Ihr Team sichtbar",
    "status_open": "Offen",
    "status_pending": "Ausstehend",
    "status_resolved": "Gelöst",
    "status_snoozed": "Zurückgestellt",
    "mode_bot": "Bot",
    "mode_human": "Mensch",
    "activity_open": "{name} hat die Konversation wieder geöffnet",
    "activity_pending": "{name} hat die Konversation als ausstehend markiert",
    "activity_resolved": "{name} hat die Konversation als gelöst markiert",
    "activity_snoozed": "{name} hat die Konversation zurückgestellt",
    "activity_taken": "{name} hat sich die Konversation zugewiesen",
    "activity_given": "{name} hat die Konversation {whom} zugewiesen",
    "activity_left": "{name} hat die Zuweisung aufgehoben",
    "activity_written": (
        "Die Konversation wurde wegen einer neuen Nachricht wieder geöffnet."
    ),
    "activity_bot_failed": (
        "Die Konversation wurde wegen eines Fehlers des Agenten-Bots geöffnet."
    ),
    "announce_note": "Private Notiz: {text}",
    "announce_status": "Konversation {id}: {status}",
    # the traffic
    "traffic": "Datenverkehr",
    "traffic_about": "Die HTTP-Anfragen zwischen Chatwoot und Ihrer App",
    "no_traffic": (
        "Noch kein Datenverkehr. Hier steht dann jede Zustellung und jeder API-Aufruf."
    ),
    "filter": "Welche Konversation",
    "all_conversations": "Alle Konversationen",
    "only_conversation": "Nur Konversation {id}",
    "faults": "Störungen",
    "no_faults": "keine",
    "api_does": "Chatwoot, wenn Ihre App schreibt",
    "api_none": "funktioniert",
    "api_error": "antwortet 500",
    "api_limit": "antwortet 429",
    "api_cut": "speichert und trennt dann",
    "also": "Außerdem",
    "fault_slow": "Langsame Antwort",
    "fault_duplicate": "Doppelt zustellen",
    "fault_forged": "Signatur fälschen",
    "line_delivery": "Chatwoot → App",
    "line_call": "App → Chatwoot",
    "line_question": "Editor → App",
    "line_crash": "Ausnahme in Ihrer App:",
    "no_answer": "keine Antwort",
    "attempt": "Versuch {attempt}",
    "signature_valid": "signiert",
    "signature_wrong": "falsche Signatur",
    "signature_absent": "nicht signiert",
    "signature_token_user": "Benutzer-Token",
    "signature_token_bot": "Bot-Token",
    "signature_key": "Schlüssel",
    "signature_none": "kein Token",
    "working": "in Arbeit…",
    "again": "Erneut senden",
    "again_label": "Zustellung {number} erneut senden",
    "loading": "Wird geladen…",
    "part_headers": "Header",
    "part_request": "Anfrage",
    "part_answer": "Antwort",
    "part_path": "Adresse",
    "part_traceback": "Traceback",
}
"""What the page of the playground shows."""
