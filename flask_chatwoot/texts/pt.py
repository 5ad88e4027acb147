"""The texts in Portuguese."""

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
"""What operators read."""

PAGE: t.Final[t.Mapping[str, str | t.Mapping[str, str]]] = {
    # the frame
    "language_name": "Português",
    "playground": "Área de testes",
    "version": "Versão simulada do Chatwoot, tudo recomeça",
    "kind": "Como o Chatwoot chega ao aplicativo, tudo recomeça",
    "kind_account": "Webhook",
    "kind_bot": "Agente bot",
    "parts": "Partes da página",
    "language": "Idioma",
    "connected": "Conectado",
    "disconnected": "Conexão perdida. Reconectando.",
    "failed": "A solicitação falhou: {why}",
    "new_items": {"one": "{count} novo", "other": "{count} novos"},
    # the customer
    "customer": "Cliente",
    "customer_about": "O que um visitante do seu site vê",
    "greeting": "Estamos aqui para ajudar",
    "new_conversation": "Nova conversa",
    "pre_chat": "Diga quem você é e como podemos ajudar.",
    "name": "Seu nome",
    "name_example": "Ada Lovelace",
    "whom": "Para quem você quer escrever?",
    "choose": "Escolha uma opção",
    "bot_option": "Agente de IA",
    "human_option": "Humano",
    "first_message": "Primeira mensagem",
    "first_message_example": "Como podemos ajudar?",
    "start": "Iniciar a conversa",
    "customer_log": "Conversa com a Acme",
    "is_resolved": "Esta conversa está resolvida.",
    "start_anew": "Iniciar uma nova conversa",
    "your_message": "Sua mensagem",
    "attach": "Anexar um arquivo",
    "chosen_files": "Arquivos para enviar",
    "remove": "Remover {name}",
    "send": "Enviar",
    "is_typing": "O agente de IA está digitando…",
    "you": "Você",
    "author_bot": "Agente de IA",
    "author_system": "Acme",
    "picked": "{title}, opção escolhida",
    # the operator
    "operator": "Atendente",
    "operator_about": "O que sua equipe vê no Chatwoot",
    "conversations": "Conversas",
    "unread": {"one": "não lida", "other": "não lidas"},
    "nothing_yet": "Ainda não há conversas. Escreva uma mensagem como cliente.",
    "actions": "Ações da conversa",
    "assign_me": "Atribuir a mim",
    "unassign": "Remover atribuição",
    "return_to_bot": "Devolver ao bot",
    "resolve": "Resolver",
    "reopen": "Reabrir",
    "assigned_to": "Atribuída a {name}",
    "unassigned": "Não atribuída",
    "who_sees": "Quem vê a mensagem",
    "reply": "Responder",
    "private_note": "Nota privada",
    "reply_text": "Resposta ao cliente",
    "note_text": "Uma nota que só sua equipe vê",
    "send_reply": "Enviar resposta",
    "add_note": "Adicionar nota",
    "suggest": "Sugerir uma resposta",
    "thinking": "O Copilot está pensando",
    "follow_up": "Diga ao Copilot o que mudar ou pergunte outra coisa...",
    "ask_again": "Perguntar novamente",
    "suggested": "Resposta sugerida",
    "discard": "Descartar",
    "accept": "Aceitar",
    "only_team": "Nota privada, visível só para sua equipe",
    "status_open": "Aberta",
    "status_pending": "Pendente",
    "status_resolved": "Resolvida",
    "status_snoozed": "Adiada",
    "mode_bot": "Bot",
    "mode_human": "Humano",
    "activity_open": "{name} reabriu a conversa",
    "activity_pending": "{name} marcou a conversa como pendente",
    "activity_resolved": "{name} resolveu a conversa",
    "activity_snoozed": "{name} adiou a conversa",
    "activity_taken": "{name} assumiu a conversa",
    "activity_given": "{name} atribuiu a conversa a {whom}",
    "activity_left": "{name} removeu a atribuição da conversa",
    "activity_written": "Uma nova mensagem reabriu a conversa.",
    "activity_bot_failed": "Um erro do agente bot abriu a conversa.",
    "announce_note": "Nota privada: {text}",
    "announce_status": "Conversa {id}: {status}",
    # the traffic
    "traffic": "Tráfego",
    "traffic_about": "As solicitações HTTP entre o Chatwoot e seu aplicativo",
    "no_traffic": (
        "Ainda não há tráfego. Aqui aparecerá cada entrega e cada chamada de API."
    ),
    "filter": "Qual conversa",
    "all_conversations": "Todas as conversas",
    "only_conversation": "Só a conversa {id}",
    "faults": "Falhas",
    "no_faults": "nenhuma",
    "api_does": "Quando seu aplicativo escreve, o Chatwoot",
    "api_none": "funciona",
    "api_error": "responde 500",
    "api_limit": "responde 429",
    "api_cut": "salva e depois desconecta",
    "also": "Além disso",
    "fault_slow": "Resposta lenta",
    "fault_duplicate": "Entregar duas vezes",
    "fault_forged": "Falsificar uma assinatura",
    "line_delivery": "Chatwoot → app",
    "line_call": "app → Chatwoot",
    "line_question": "editor → app",
    "line_crash": "exceção no seu aplicativo:",
    "no_answer": "sem resposta",
    "attempt": "tentativa {attempt}",
    "signature_valid": "assinado",
    "signature_wrong": "assinatura incorreta",
    "signature_absent": "sem assinatura",
    "signature_token_user": "token de usuário",
    "signature_token_bot": "token de bot",
    "signature_key": "chave",
    "signature_none": "sem token",
    "working": "em andamento…",
    "again": "Enviar novamente",
    "again_label": "Enviar novamente a entrega {number}",
    "loading": "Carregando…",
    "part_headers": "Cabeçalhos",
    "part_request": "Solicitação",
    "part_answer": "Resposta",
    "part_path": "Endereço",
    "part_traceback": "Rastreamento da exceção",
}
"""What the page of the playground shows."""
