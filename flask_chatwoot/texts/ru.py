"""The texts in Russian."""

from __future__ import annotations

import typing as t

TEXTS: t.Final[t.Mapping[str, str | t.Mapping[str, str]]] = {
    "handoff": "**Бот передаёт этот диалог операторам.**",
    "reason": "Причина: {reason}",
    "wrote": {
        "one": "Клиент написал {count} сообщение:",
        "few": "Клиент написал {count} сообщения:",
        "many": "Клиент написал {count} сообщений:",
        "other": "Клиент написал {count} сообщения:",
    },
    "answered": "Бот ответил:",
    "failed": "**Бот не смог ответить.**",
    "failed_provider_failed": (
        "Его функция ответа завершилась ошибкой при каждой попытке."
    ),
    "failed_provider_timeout": "Его функция ответа не ответила вовремя.",
    "failed_provider_invalid": "Его функция ответа вернула недопустимое значение.",
    "failed_no_provider": "Функция ответа не зарегистрирована.",
    "failed_refused": "Chatwoot не принял его сообщение.",
    "failed_not_chatwoot": "Вместо Chatwoot ответил другой сервер.",
    "failed_redirected": "Адрес Chatwoot отвечает перенаправлением.",
    "failed_rate_limited": "Chatwoot получил слишком много запросов.",
    "failed_server_error": "Chatwoot отвечал ошибкой при каждой попытке.",
    "failed_unreachable": "Не удалось связаться с Chatwoot.",
    "failed_unconfirmed": "Ответ отправлен, но, по-видимому, не дошёл.",
    "failed_undelivered": "Канал отклонил его сообщение: клиент его не получил.",
    "failed_crashed": "Его процесс прерывался при каждой попытке.",
    "handed_off": "Диалог передан операторам.",
    "silent_empty": "в сообщении нет содержимого, которое бот может прочитать.",
    "silent_no_answer": "у бота нет ответа.",
    "silent_no_provider": "у бота нет функции ответа для этого режима.",
    "silent_too_old": "сообщение старше, чем допускает CHATWOOT_MAX_AGE.",
    "loop_repeated_text": (
        "один и тот же текст пришёл много раз подряд, как от автоответчика."
    ),
    "loop_too_many_turns": (
        "за час пришло слишком много сообщений, как от автоответчика."
    ),
    "too_old": (
        "**Бот не ответил.** Когда бот получил сообщение клиента, оно было "
        "старше, чем допускает CHATWOOT_MAX_AGE."
    ),
    "missing": "**Насколько известно, эта часть ответа не была отправлена:**",
    "left_over": (
        "**Ответ слишком длинный для этого канала. Клиент не получил остальное:**"
    ),
    "composer_still_writing": (
        "Черновик ещё пишется. Нажмите ещё раз через несколько секунд."
    ),
    "composer_busy": (
        "Пишется слишком много черновиков. Нажмите ещё раз через несколько секунд."
    ),
    "composer_provider_failed": (
        "Функция ответа приложения завершилась ошибкой. Причина — в журнале приложения."
    ),
    "composer_gave_up": "Функция приложения отказалась отвечать.",
    "composer_no_suggestion": (
        "Предложения нет: функция ответа приложения не дала ответа."
    ),
    "composer_no_reply_provider": (
        "У приложения нет функции ответа для этого источника."
    ),
    "composer_no_question": "Предложения нет: клиент ещё ничего не написал.",
    "composer_no_conversation": "В запросе не указан диалог.",
    "composer_other_account": (
        "Судя по сообщениям, это диалог другого аккаунта; возможно, их слишком мало, "
        "они слишком короткие или новее 15 секунд."
    ),
    "composer_other_inbox": (
        "Приложение не отвечает в этом источнике (CHATWOOT_INBOXES)."
    ),
    "composer_no_right": (
        "Боту нельзя читать сообщения. Укажите в CHATWOOT_USER_ACCESS_TOKEN "
        "приложения токен пользователя."
    ),
    "composer_unreadable": (
        "Приложение не смогло прочитать диалог. Нажмите ещё раз через несколько секунд."
    ),
    "composer_database": (
        "База данных приложения не отвечает. Нажмите ещё раз через несколько секунд."
    ),
    "composer_not_configured": "Приложение не настроено для Chatwoot.",
    "composer_no_completion_provider": (
        "Приложение умеет только предлагать ответы: функции для других текстов у него"
        " нет."
    ),
    "composer_completion_failed": (
        "Функция приложения для других текстов завершилась ошибкой. Причина — в "
        "журнале приложения."
    ),
    "composer_no_completion": (
        "Функция приложения для других текстов не вернула текста."
    ),
    "composer_too_slow": (
        "Функция приложения для других текстов работает слишком долго. Нажмите ещё раз."
    ),
    "composer_stream": "Приложение не отвечает по частям: stream должен быть false.",
    "composer_invalid": "Приложение не может прочитать запрос.",
    "composer_too_large": "Запрос слишком велик для приложения (CHATWOOT_MAX_BODY).",
    "composer_failed": "В приложении произошла ошибка. Причина — в его журнале.",
    "composer_wrong_key": (
        "Это не ключ приложения. Сравните CAPTAIN_OPEN_AI_API_KEY в Chatwoot или ключ"
        " интеграции OpenAI этого аккаунта с CHATWOOT_COPILOT_TOKEN."
    ),
    "composer_disabled": (
        "Приложение не отвечает редактору: задайте CHATWOOT_COPILOT_TOKEN."
    ),
}
"""What operators read."""

PAGE: t.Final[t.Mapping[str, str | t.Mapping[str, str]]] = {
    # the frame
    "language_name": "Русский",
    "playground": "Песочница",
    "version": "Имитируемая версия Chatwoot, всё начнётся сначала",
    "kind": "Как Chatwoot обращается к приложению, всё начнётся сначала",
    "kind_account": "Вебхук",
    "kind_bot": "Агент-бот",
    "parts": "Части страницы",
    "language": "Язык",
    "connected": "На связи",
    "disconnected": "Связь потеряна. Переподключение.",
    "failed": "Запрос не выполнен: {why}",
    "new_items": "новых: {count}",
    # the customer
    "customer": "Клиент",
    "customer_about": "Что видит посетитель вашего сайта",
    "greeting": "Мы рады помочь",
    "new_conversation": "Новый диалог",
    "pre_chat": "Представьтесь и расскажите, чем мы можем помочь.",
    "name": "Ваше имя",
    "name_example": "Ада Лавлейс",
    "whom": "Кому вы хотите написать?",
    "choose": "Выберите",
    "bot_option": "AI агент",
    "human_option": "Человек",
    "first_message": "Первое сообщение",
    "first_message_example": "Чем мы можем помочь?",
    "start": "Начать диалог",
    "customer_log": "Диалог с Acme",
    "is_resolved": "Диалог завершён.",
    "start_anew": "Начать новый диалог",
    "your_message": "Ваше сообщение",
    "attach": "Прикрепить файл",
    "chosen_files": "Файлы к отправке",
    "remove": "Убрать {name}",
    "send": "Отправить",
    "is_typing": "AI агент печатает…",
    "you": "Вы",
    "author_bot": "AI агент",
    "author_system": "Acme",
    "picked": "{title}, выбрано",
    # the operator
    "operator": "Оператор",
    "operator_about": "Что видит ваша команда в Chatwoot",
    "conversations": "Диалоги",
    "unread": "не прочитано",
    "nothing_yet": "Диалогов пока нет. Напишите что-нибудь от лица клиента.",
    "actions": "Действия с диалогом",
    "assign_me": "Взять себе",
    "unassign": "Снять с себя",
    "return_to_bot": "Вернуть боту",
    "resolve": "Завершить",
    "reopen": "Открыть снова",
    "assigned_to": "Назначен: {name}",
    "unassigned": "Никому не назначен",
    "who_sees": "Кто увидит сообщение",
    "reply": "Ответ",
    "private_note": "Заметка",
    "reply_text": "Ответ клиенту",
    "note_text": "Заметка, которую видит только команда",
    "send_reply": "Ответить",
    "add_note": "Добавить заметку",
    "suggest": "Предложить ответ",
    "thinking": "Copilot думает",
    "follow_up": "Уточните запрос или спросите что-нибудь ещё...",
    "ask_again": "Спросить снова",
    "suggested": "Предложенный ответ",
    "discard": "Отменить",
    "accept": "Принять",
    "only_team": "Заметка, видна только команде",
    "status_open": "Открыт",
    "status_pending": "В ожидании",
    "status_resolved": "Завершён",
    "status_snoozed": "Отложен",
    "mode_bot": "Бот",
    "mode_human": "Человек",
    "activity_open": "Диалог открыт снова: {name}",
    "activity_pending": "Диалог переведён в ожидание: {name}",
    "activity_resolved": "Диалог завершён: {name}",
    "activity_snoozed": "Диалог отложен: {name}",
    "activity_taken": "Диалог взят на себя: {name}",
    "activity_given": "Диалог передан ({whom}): {name}",
    "activity_left": "Диалог больше никому не назначен: {name}",
    "activity_written": "Диалог открыт снова: пришло новое сообщение.",
    "activity_bot_failed": "Диалог открыт: ошибка агента-бота.",
    "announce_note": "Заметка: {text}",
    "announce_status": "Диалог {id}: {status}",
    # the traffic
    "traffic": "Обмен",
    "traffic_about": "HTTP-запросы между Chatwoot и приложением",
    "no_traffic": "Обмена пока нет. Здесь появится каждая доставка и каждый вызов API.",
    "filter": "Какой диалог",
    "all_conversations": "Все диалоги",
    "only_conversation": "Только диалог {id}",
    "faults": "Неполадки",
    "no_faults": "нет",
    "api_does": "Когда приложение пишет, Chatwoot",
    "api_none": "работает",
    "api_error": "отвечает 500",
    "api_limit": "отвечает 429",
    "api_cut": "сохраняет и обрывает связь",
    "also": "А также",
    "fault_slow": "Медленный ответ",
    "fault_duplicate": "Доставлять дважды",
    "fault_forged": "Подделать подпись",
    "line_delivery": "Chatwoot → приложение",
    "line_call": "приложение → Chatwoot",
    "line_question": "редактор → приложение",
    "line_crash": "исключение в приложении:",
    "no_answer": "нет ответа",
    "attempt": "попытка {attempt}",
    "signature_valid": "подписано",
    "signature_wrong": "подпись неверна",
    "signature_absent": "без подписи",
    "signature_token_user": "токен пользователя",
    "signature_token_bot": "токен бота",
    "signature_key": "ключ",
    "signature_none": "без токена",
    "working": "в работе…",
    "again": "Повторить",
    "again_label": "Повторить доставку {number}",
    "loading": "Загрузка…",
    "part_headers": "Заголовки",
    "part_request": "Запрос",
    "part_answer": "Ответ",
    "part_path": "Адрес",
    "part_traceback": "Трассировка",
}
"""What the page of the playground shows."""
