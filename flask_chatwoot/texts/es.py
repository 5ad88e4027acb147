"""The texts in Spanish."""

from __future__ import annotations

import typing as t

TEXTS: t.Final[t.Mapping[str, str | t.Mapping[str, str]]] = {
    "handoff": "**El bot transfiere esta conversación.**",
    "reason": "Motivo: {reason}",
    "wrote": {
        "one": "El cliente escribió:",
        "other": "El cliente escribió {count} mensajes:",
    },
    "answered": "El bot respondió:",
    "failed": "**El bot no pudo responder.**",
    "failed_provider_failed": "Su función de respuesta falló en todos los intentos.",
    "failed_provider_timeout": "Su función de respuesta no respondió a tiempo.",
    "failed_provider_invalid": "Su función de respuesta devolvió algo inutilizable.",
    "failed_no_provider": "No hay ninguna función de respuesta registrada.",
    "failed_refused": "Chatwoot no aceptó su mensaje.",
    "failed_not_chatwoot": "Otro servidor respondió en lugar de Chatwoot.",
    "failed_redirected": "La dirección de Chatwoot responde con una redirección.",
    "failed_rate_limited": "Chatwoot recibió demasiadas solicitudes.",
    "failed_server_error": "Chatwoot falló en todos los intentos.",
    "failed_unreachable": "No se pudo conectar con Chatwoot.",
    "failed_unconfirmed": "Se envió una respuesta, pero parece que no llegó.",
    "failed_undelivered": "El canal rechazó su mensaje: el cliente no lo recibió.",
    "failed_crashed": "Su proceso se interrumpió en todos los intentos.",
    "handed_off": "La conversación se ha transferido.",
    "silent_empty": "el mensaje no tiene contenido que el bot pueda leer.",
    "silent_no_answer": "el bot no tiene respuesta.",
    "silent_no_provider": "el bot no tiene una función de respuesta para este modo.",
    "silent_too_old": "el mensaje es más antiguo que CHATWOOT_MAX_AGE.",
    "loop_repeated_text": (
        "llegó el mismo texto una y otra vez, como si lo enviara una máquina."
    ),
    "loop_too_many_turns": (
        "llegaron demasiados mensajes en una hora, como si los enviara una máquina."
    ),
    "too_old": (
        "**El bot no respondió.** El mensaje del cliente era más antiguo que "
        "CHATWOOT_MAX_AGE cuando el bot lo recibió."
    ),
    "missing": "**Hasta donde se sabe, esta parte de la respuesta no se envió:**",
    "left_over": (
        "**La respuesta era demasiado larga para el canal. El cliente no recibió "
        "el resto:**"
    ),
    "composer_still_writing": (
        "El borrador aún se está escribiendo. Vuelva a intentarlo en un momento."
    ),
    "composer_busy": (
        "Se están escribiendo demasiados borradores. Vuelva a intentarlo en un momento."
    ),
    "composer_provider_failed": (
        "La función de respuesta de la aplicación falló. Su registro dice por qué."
    ),
    "composer_gave_up": "La función de la aplicación desistió.",
    "composer_no_suggestion": (
        "No hay sugerencia: la función de respuesta de la aplicación no dio respuesta."
    ),
    "composer_no_reply_provider": (
        "La aplicación no tiene una función de respuesta para esta bandeja de entrada."
    ),
    "composer_no_question": "No hay sugerencia: el cliente aún no ha escrito.",
    "composer_no_conversation": "La solicitud no indica ninguna conversación.",
    "composer_other_account": (
        "Esta no es una conversación de esta cuenta, según sus mensajes: quizá son "
        "muy pocos, muy cortos o tienen menos de 15 segundos."
    ),
    "composer_other_inbox": (
        "La aplicación no responde en esta bandeja de entrada (CHATWOOT_INBOXES)."
    ),
    "composer_no_right": (
        "Un bot no puede leer mensajes. Asigne a CHATWOOT_USER_ACCESS_TOKEN de la "
        "aplicación el token de un usuario."
    ),
    "composer_unreadable": (
        "La aplicación no pudo leer la conversación. Vuelva a intentarlo en un momento."
    ),
    "composer_database": (
        "La base de datos de la aplicación no responde. Vuelva a intentarlo en un "
        "momento."
    ),
    "composer_not_configured": "La aplicación no está configurada para Chatwoot.",
    "composer_no_completion_provider": (
        "La aplicación solo puede sugerir respuestas: no tiene una función para otros"
        " textos."
    ),
    "composer_completion_failed": (
        "La función de la aplicación para otros textos falló. Su registro dice por qué."
    ),
    "composer_no_completion": (
        "La función de la aplicación para otros textos no dio ningún texto."
    ),
    "composer_too_slow": (
        "La función de la aplicación para otros textos tarda demasiado. Vuelva a "
        "intentarlo."
    ),
    "composer_stream": "La aplicación no responde por partes; stream debe ser false.",
    "composer_invalid": "La aplicación no puede leer la solicitud.",
    "composer_too_large": (
        "La solicitud es demasiado grande para la aplicación (CHATWOOT_MAX_BODY)."
    ),
    "composer_failed": "La aplicación falló. Su registro dice por qué.",
    "composer_wrong_key": (
        "La clave no es la de la aplicación. Compare CAPTAIN_OPEN_AI_API_KEY en "
        "Chatwoot, o la clave de la integración de OpenAI de la cuenta, con "
        "CHATWOOT_COPILOT_TOKEN."
    ),
    "composer_disabled": (
        "La aplicación no responde al editor: defina CHATWOOT_COPILOT_TOKEN."
    ),
}
"""What operators read."""

PAGE: t.Final[t.Mapping[str, str | t.Mapping[str, str]]] = {
    # the frame
    "language_name": "Español",
    "playground": "Zona de pruebas",
    "version": "Versión simulada de Chatwoot, todo empieza de nuevo",
    "kind": "Cómo llega Chatwoot a la aplicación, todo empieza de nuevo",
    "kind_account": "Webhook",
    "kind_bot": "Agente bot",
    "parts": "Partes de la página",
    "language": "Idioma",
    "connected": "Conectado",
    "disconnected": "Conexión perdida. Reconectando.",
    "failed": "La solicitud falló: {why}",
    "new_items": {"one": "{count} nuevo", "other": "{count} nuevos"},
    # the customer
    "customer": "Cliente",
    "customer_about": "Lo que ve un visitante de su sitio",
    "greeting": "Estamos aquí para ayudarle",
    "new_conversation": "Nueva conversación",
    "pre_chat": "Díganos quién es y cómo podemos ayudarle.",
    "name": "Su nombre",
    "name_example": "Ada Lovelace",
    "whom": "¿A quién quiere escribir?",
    "choose": "Elija una opción",
    "bot_option": "Agente de IA",
    "human_option": "Humano",
    "first_message": "Primer mensaje",
    "first_message_example": "¿Cómo podemos ayudarle?",
    "start": "Iniciar la conversación",
    "customer_log": "Conversación con Acme",
    "is_resolved": "Esta conversación está resuelta.",
    "start_anew": "Iniciar una nueva conversación",
    "your_message": "Su mensaje",
    "attach": "Adjuntar un archivo",
    "chosen_files": "Archivos para enviar",
    "remove": "Quitar {name}",
    "send": "Enviar",
    "is_typing": "El agente de IA está escribiendo…",
    "you": "Usted",
    "author_bot": "Agente de IA",
    "author_system": "Acme",
    "picked": "{title}, opción elegida",
    # the operator
    "operator": "Operador",
    "operator_about": "Lo que ve su equipo en Chatwoot",
    "conversations": "Conversaciones",
    "unread": "sin leer",
    "nothing_yet": "Todavía no hay conversaciones. Escriba un mensaje como cliente.",
    "actions": "Acciones de la conversación",
    "assign_me": "Asignarme",
    "unassign": "Quitar asignación",
    "return_to_bot": "Devolver al bot",
    "resolve": "Resolver",
    "reopen": "Reabrir",
    "assigned_to": "Asignada a {name}",
    "unassigned": "Sin asignar",
    "who_sees": "Quién ve el mensaje",
    "reply": "Responder",
    "private_note": "Nota privada",
    "reply_text": "Respuesta al cliente",
    "note_text": "Una nota que solo ve su equipo",
    "send_reply": "Enviar respuesta",
    "add_note": "Añadir nota",
    "suggest": "Sugerir una respuesta",
    "thinking": "Copilot está pensando",
    "follow_up": "Indique a Copilot qué cambiar o pregunte otra cosa...",
    "ask_again": "Preguntar de nuevo",
    "suggested": "Respuesta sugerida",
    "discard": "Descartar",
    "accept": "Aceptar",
    "only_team": "Nota privada, solo la ve su equipo",
    "status_open": "Abierta",
    "status_pending": "Pendiente",
    "status_resolved": "Resuelta",
    "status_snoozed": "Pospuesta",
    "mode_bot": "Bot",
    "mode_human": "Humano",
    "activity_open": "{name} reabrió la conversación",
    "activity_pending": "{name} marcó la conversación como pendiente",
    "activity_resolved": "{name} resolvió la conversación",
    "activity_snoozed": "{name} pospuso la conversación",
    "activity_taken": "{name} se asignó la conversación",
    "activity_given": "{name} asignó la conversación a {whom}",
    "activity_left": "{name} quitó la asignación de la conversación",
    "activity_written": "Un mensaje nuevo reabrió la conversación.",
    "activity_bot_failed": "Un error del agente bot abrió la conversación.",
    "announce_note": "Nota privada: {text}",
    "announce_status": "Conversación {id}: {status}",
    # the traffic
    "traffic": "Tráfico",
    "traffic_about": "Las solicitudes HTTP entre Chatwoot y su aplicación",
    "no_traffic": (
        "Todavía no hay tráfico. Aquí aparecerá cada entrega y cada llamada a la API."
    ),
    "filter": "Qué conversación",
    "all_conversations": "Todas las conversaciones",
    "only_conversation": "Solo la conversación {id}",
    "faults": "Fallos",
    "no_faults": "ninguno",
    "api_does": "Cuando su aplicación escribe, Chatwoot",
    "api_none": "funciona",
    "api_error": "responde 500",
    "api_limit": "responde 429",
    "api_cut": "guarda y luego corta",
    "also": "Además",
    "fault_slow": "Respuesta lenta",
    "fault_duplicate": "Entregar dos veces",
    "fault_forged": "Falsificar una firma",
    "line_delivery": "Chatwoot → app",
    "line_call": "app → Chatwoot",
    "line_question": "editor → app",
    "line_crash": "excepción en su aplicación:",
    "no_answer": "sin respuesta",
    "attempt": "intento {attempt}",
    "signature_valid": "firmado",
    "signature_wrong": "firma incorrecta",
    "signature_absent": "sin firma",
    "signature_token_user": "token de usuario",
    "signature_token_bot": "token de bot",
    "signature_key": "clave",
    "signature_none": "sin token",
    "working": "en curso…",
    "again": "Enviar de nuevo",
    "again_label": "Enviar de nuevo la entrega {number}",
    "loading": "Cargando…",
    "part_headers": "Encabezados",
    "part_request": "Solicitud",
    "part_answer": "Respuesta",
    "part_path": "Dirección",
    "part_traceback": "Traza de la excepción",
}
"""What the page of the playground shows."""
