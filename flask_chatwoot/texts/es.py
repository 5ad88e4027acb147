"""What operators read, in Spanish."""

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
}
