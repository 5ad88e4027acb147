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
    "composer_still_writing": (
        "O rascunho ainda está sendo escrito. Tente de novo em instantes."
    ),
    "composer_busy": "Há rascunhos demais sendo escritos. Tente de novo em instantes.",
    "composer_provider_failed": (
        "A função de resposta do aplicativo falhou. O log do aplicativo diz por quê."
    ),
    "composer_gave_up": "A função do aplicativo desistiu.",
    "composer_no_suggestion": (
        "Não há sugestão: a função de resposta do aplicativo não deu resposta."
    ),
    "composer_no_reply_provider": (
        "O aplicativo não tem função de resposta para esta caixa de entrada."
    ),
    "composer_no_question": "Não há sugestão: o cliente ainda não escreveu.",
    "composer_no_conversation": "A solicitação não indica nenhuma conversa.",
    "composer_other_account": (
        "Esta não é uma conversa desta conta, pelo que mostram as mensagens: talvez "
        "sejam poucas, curtas demais ou tenham menos de 15 segundos."
    ),
    "composer_other_inbox": (
        "O aplicativo não responde nesta caixa de entrada (CHATWOOT_INBOXES)."
    ),
    "composer_no_right": (
        "Um bot não pode ler mensagens. Defina CHATWOOT_USER_ACCESS_TOKEN do "
        "aplicativo com o token de um usuário."
    ),
    "composer_unreadable": (
        "O aplicativo não conseguiu ler a conversa. Tente de novo em instantes."
    ),
    "composer_database": (
        "O banco de dados do aplicativo não responde. Tente de novo em instantes."
    ),
    "composer_not_configured": "O aplicativo não está configurado para o Chatwoot.",
    "composer_no_completion_provider": (
        "O aplicativo só pode sugerir respostas: não tem função para outros textos."
    ),
    "composer_completion_failed": (
        "A função do aplicativo para outros textos falhou. O log do aplicativo diz "
        "por quê."
    ),
    "composer_no_completion": (
        "A função do aplicativo para outros textos não deu nenhum texto."
    ),
    "composer_too_slow": (
        "A função do aplicativo para outros textos demora demais. Tente de novo."
    ),
    "composer_stream": "O aplicativo não responde em partes; stream deve ser false.",
    "composer_invalid": "O aplicativo não consegue ler a solicitação.",
    "composer_too_large": (
        "A solicitação é grande demais para o aplicativo (CHATWOOT_MAX_BODY)."
    ),
    "composer_failed": "O aplicativo falhou. O log diz por quê.",
    "composer_wrong_key": (
        "A chave não é a do aplicativo. Compare CAPTAIN_OPEN_AI_API_KEY no Chatwoot, "
        "ou a chave da integração OpenAI da conta, com CHATWOOT_COPILOT_TOKEN."
    ),
    "composer_disabled": (
        "O aplicativo não responde ao editor: defina CHATWOOT_COPILOT_TOKEN."
    ),
}
