"""What operators read, in Russian."""

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
}
