"""What operators read, in Portuguese."""

from __future__ import annotations

import typing as t

TEXTS: t.Final[t.Mapping[str, str | t.Mapping[str, str]]] = {
    "handoff": "**O bot transfere esta conversa.**",
    "reason": "Motivo: {reason}",
    "wrote": {
        "one": "O cliente escreveu:",
        "other": "O cliente escreveu {count} mensagens:",
    },
    "answered": "O bot respondeu:",
    "failed": "**O bot não conseguiu responder.**",
    "failed_provider_failed": "A função de resposta falhou em todas as tentativas.",
    "failed_provider_timeout": "A função de resposta não respondeu a tempo.",
    "failed_provider_invalid": "A função de resposta devolveu algo inutilizável.",
    "failed_no_provider": "Nenhuma função de resposta está registrada.",
    "failed_refused": "O Chatwoot não aceitou a mensagem do bot.",
    "failed_not_chatwoot": "Outro servidor respondeu no lugar do Chatwoot.",
    "failed_redirected": "O endereço do Chatwoot responde com um redirecionamento.",
    "failed_rate_limited": "O Chatwoot recebeu solicitações demais.",
    "failed_server_error": "O Chatwoot falhou em todas as tentativas.",
    "failed_unreachable": "Não foi possível conectar ao Chatwoot.",
    "failed_unconfirmed": "Uma resposta foi enviada, mas parece não ter chegado.",
    "failed_undelivered": "O canal recusou a mensagem: o cliente não a recebeu.",
    "failed_crashed": "O processo foi interrompido em todas as tentativas.",
    "handed_off": "A conversa foi transferida.",
    "silent_empty": "a mensagem não tem conteúdo que o bot possa ler.",
    "silent_no_answer": "o bot não tem resposta.",
    "silent_no_provider": "o bot não tem função de resposta para este modo.",
    "silent_too_old": "a mensagem é mais antiga que CHATWOOT_MAX_AGE.",
    "loop_repeated_text": (
        "o mesmo texto chegou várias vezes seguidas, como se viesse de uma máquina."
    ),
    "loop_too_many_turns": (
        "chegaram mensagens demais em uma hora, como se viessem de uma máquina."
    ),
    "too_old": (
        "**O bot não respondeu.** A mensagem do cliente era mais antiga que "
        "CHATWOOT_MAX_AGE quando o bot a recebeu."
    ),
    "missing": "**Até onde se sabe, esta parte da resposta não foi enviada:**",
    "left_over": (
        "**A resposta era longa demais para o canal. O cliente não recebeu o "
        "restante:**"
    ),
}
