// All texts of the page, in each of its languages.

export const WORDS = {
  en: {
    playground: "Playground",
    version: "Simulated version of Chatwoot, begins anew",
    kind: "How Chatwoot reaches the app, begins anew",
    kind_account: "Webhook",
    kind_bot: "Agent bot",
    parts: "Parts of the page",
    language: "Language",
    connected: "Live",
    disconnected: "Connection lost. Reconnecting.",
    failed: "The request failed: {why}",

    new_items: "{number} new",
    customer: "Customer",
    customer_about: "What a visitor of your site sees",
    greeting: "We are here to help",
    new_conversation: "New conversation",
    pre_chat: "Tell us who you are, and how we can help.",
    name: "Your name",
    name_example: "Ada Lovelace",
    whom: "Whom do you want to write to?",
    choose: "Please choose",
    bot_option: "AI agent",
    human_option: "Human",
    first_message: "First message",
    first_message_example: "How can we help?",
    start: "Start the conversation",
    customer_log: "Conversation with Acme",
    is_resolved: "This conversation is resolved.",
    start_anew: "Start a new conversation",
    your_message: "Your message",
    attach: "Attach a file",
    chosen_files: "Files to send",
    remove: "Remove {name}",
    send: "Send",
    is_typing: "AI agent is typing…",
    you: "You",
    bot: "AI agent",
    system: "Acme",
    picked: "{title}, chosen",

    operator: "Operator",
    operator_about: "What your team sees in Chatwoot",
    conversations: "Conversations",
    unread: "unread",
    nothing_yet: "No conversation yet. Write a message as the customer.",
    actions: "Actions for the conversation",
    assign_me: "Assign to me",
    unassign: "Unassign",
    return_to_bot: "Return to the bot",
    resolve: "Resolve",
    reopen: "Reopen",
    assigned_to: "Assigned to {name}",
    unassigned: "Unassigned",
    who_sees: "Who sees the message",
    reply: "Reply",
    private_note: "Private note",
    reply_text: "Reply to the customer",
    note_text: "A note only your team sees",
    send_reply: "Send reply",
    add_note: "Add note",
    suggest: "Suggest a reply",
    thinking: "Copilot is thinking",
    follow_up: "Give copilot additional prompts, or ask anything else...",
    ask_again: "Ask again",
    suggested: "Suggested reply",
    discard: "Discard",
    accept: "Accept",
    only_team: "Private note, only your team sees it",
    status_open: "Open",
    status_pending: "Pending",
    status_resolved: "Resolved",
    status_snoozed: "Snoozed",
    mode_bot: "Bot",
    mode_human: "Human",
    activity_open: "Conversation was reopened by {name}",
    activity_pending: "Conversation was marked as pending by {name}",
    activity_resolved: "Conversation was marked resolved by {name}",
    activity_taken: "{name} self-assigned this conversation",
    activity_given: "Assigned to {whom} by {name}",
    activity_left: "Conversation unassigned by {name}",
    announce_note: "Private note: {text}",
    announce_status: "Conversation {id}: {status}",

    traffic: "Traffic",
    traffic_about: "The HTTP requests between Chatwoot and your app",
    no_traffic: "No traffic yet. Every delivery and every API call is listed here.",
    filter: "Which conversation",
    all_conversations: "All conversations",
    only_conversation: "Only conversation {id}",
    faults: "Faults",
    no_faults: "none",
    api_does: "When your app posts, Chatwoot",
    api_none: "works",
    api_error: "answers 500",
    api_limit: "answers 429",
    api_cut: "stores, then disconnects",
    also: "Also",
    slow: "Slow provider",
    duplicate: "Deliver twice",
    forged: "Forge a signature",
    delivery: "Chatwoot → app",
    call: "app → Chatwoot",
    question: "composer → app",
    crash: "your app raised, in its",
    milliseconds: "{ms} ms",
    no_answer: "no answer",
    attempt: "attempt {attempt}",
    signature_valid: "signed",
    signature_wrong: "bad signature",
    signature_absent: "unsigned",
    signature_token_user: "user token",
    signature_token_bot: "bot token",
    signature_key: "bearer key",
    signature_none: "no token",
    working: "working…",
    again: "Send again",
    again_label: "Send delivery {number} again",
    loading: "Loading…",
    headers: "Headers",
    request: "Request",
    answer: "Answer",
    path: "Address",
    traceback: "Traceback",
  },

  ru: {
    playground: "Песочница",
    version: "Имитируемая версия Chatwoot, всё начнётся сначала",
    kind: "Как Chatwoot обращается к приложению, всё начнётся сначала",
    kind_account: "Вебхук",
    kind_bot: "Агент-бот",
    parts: "Части страницы",
    language: "Язык",
    connected: "На связи",
    disconnected: "Связь потеряна. Переподключение.",
    failed: "Запрос не выполнен: {why}",

    new_items: "новых: {number}",
    customer: "Клиент",
    customer_about: "Что видит посетитель вашего сайта",
    greeting: "Мы рады помочь",
    new_conversation: "Новый диалог",
    pre_chat: "Представьтесь и расскажите, чем мы можем помочь.",
    name: "Ваше имя",
    name_example: "Ада Лавлейс",
    whom: "Кому вы хотите написать?",
    choose: "Выберите",
    bot_option: "AI агент",
    human_option: "Человек",
    first_message: "Первое сообщение",
    first_message_example: "Чем мы можем помочь?",
    start: "Начать диалог",
    customer_log: "Диалог с Acme",
    is_resolved: "Диалог завершён.",
    start_anew: "Начать новый диалог",
    your_message: "Ваше сообщение",
    attach: "Прикрепить файл",
    chosen_files: "Файлы к отправке",
    remove: "Убрать {name}",
    send: "Отправить",
    is_typing: "AI агент печатает…",
    you: "Вы",
    bot: "AI агент",
    system: "Acme",
    picked: "{title}, выбрано",

    operator: "Оператор",
    operator_about: "Что видит ваша команда в Chatwoot",
    conversations: "Диалоги",
    unread: "не прочитано",
    nothing_yet: "Диалогов пока нет. Напишите что-нибудь от лица клиента.",
    actions: "Действия с диалогом",
    assign_me: "Взять себе",
    unassign: "Снять с себя",
    return_to_bot: "Вернуть боту",
    resolve: "Завершить",
    reopen: "Открыть снова",
    assigned_to: "Назначен: {name}",
    unassigned: "Никому не назначен",
    who_sees: "Кто увидит сообщение",
    reply: "Ответ",
    private_note: "Заметка",
    reply_text: "Ответ клиенту",
    note_text: "Заметка, которую видит только команда",
    send_reply: "Ответить",
    add_note: "Добавить заметку",
    suggest: "Предложить ответ",
    thinking: "Copilot думает",
    follow_up: "Уточните запрос или спросите что-нибудь ещё...",
    ask_again: "Спросить снова",
    suggested: "Предложенный ответ",
    discard: "Отменить",
    accept: "Принять",
    only_team: "Заметка, видна только команде",
    status_open: "Открыт",
    status_pending: "В ожидании",
    status_resolved: "Завершён",
    status_snoozed: "Отложен",
    mode_bot: "Бот",
    mode_human: "Человек",
    activity_open: "Диалог открыт снова: {name}",
    activity_pending: "Диалог переведён в ожидание: {name}",
    activity_resolved: "Диалог завершён: {name}",
    activity_taken: "Диалог взят на себя: {name}",
    activity_given: "Диалог передан ({whom}): {name}",
    activity_left: "Диалог больше никому не назначен: {name}",
    announce_note: "Заметка: {text}",
    announce_status: "Диалог {id}: {status}",

    traffic: "Обмен",
    traffic_about: "HTTP-запросы между Chatwoot и приложением",
    no_traffic: "Обмена пока нет. Здесь появится каждая доставка и каждый вызов API.",
    filter: "Какой диалог",
    all_conversations: "Все диалоги",
    only_conversation: "Только диалог {id}",
    faults: "Неполадки",
    no_faults: "нет",
    api_does: "Когда приложение пишет, Chatwoot",
    api_none: "работает",
    api_error: "отвечает 500",
    api_limit: "отвечает 429",
    api_cut: "сохраняет и обрывает связь",
    also: "А также",
    slow: "Медленный ответ",
    duplicate: "Доставлять дважды",
    forged: "Подделать подпись",
    delivery: "Chatwoot → приложение",
    call: "приложение → Chatwoot",
    question: "редактор → приложение",
    crash: "исключение в приложении:",
    milliseconds: "{ms} мс",
    no_answer: "нет ответа",
    attempt: "попытка {attempt}",
    signature_valid: "подписано",
    signature_wrong: "подпись неверна",
    signature_absent: "без подписи",
    signature_token_user: "токен пользователя",
    signature_token_bot: "токен бота",
    signature_key: "ключ",
    signature_none: "без токена",
    working: "в работе…",
    again: "Повторить",
    again_label: "Повторить доставку {number}",
    loading: "Загрузка…",
    headers: "Заголовки",
    request: "Запрос",
    answer: "Ответ",
    path: "Адрес",
    traceback: "Трассировка",
  },
};

const REMEMBERED = "playground-language";

export let language = remembered() ?? preferred();

function remembered() {
  const chosen = localStorage.getItem(REMEMBERED);
  return chosen in WORDS ? chosen : undefined;
}

function preferred() {
  const known = navigator.languages.map((tag) => tag.slice(0, 2).toLowerCase());
  return known.find((tag) => tag in WORDS) ?? "en";
}

export function chooseLanguage(chosen) {
  language = chosen;
  localStorage.setItem(REMEMBERED, chosen);
}

// The text with this name. The values replace its {placeholders}.
export function word(name, values = {}) {
  const text = WORDS[language][name] ?? name;
  return text.replace(/\{(\w+)\}/g, (_, gap) => values[gap]);
}

// An activity message in the language of the page; unchanged, if it is not known.
// Chatwoot writes them in the language of the account, and the simulator in English.
export function activity(text) {
  for (const [name, english] of Object.entries(WORDS.en))
    if (name.startsWith("activity_")) {
      const pattern = english.replace(/\{(\w+)\}/g, "(?<$1>.+)");
      const found = new RegExp(`^${pattern}$`).exec(text);

      if (found) return word(name, found.groups);
    }

  return text;
}

// The option of the form that stands for a mode, as the customer reads it.
export const option = (mode) => word(`${mode}_option`);

// Fill in the texts of page.html.
export function fillIn() {
  document.documentElement.lang = language;
  document.title = word("playground");

  for (const node of document.querySelectorAll("[data-text]"))
    node.textContent = word(node.dataset.text);

  for (const node of document.querySelectorAll("[data-label]"))
    node.setAttribute("aria-label", word(node.dataset.label));

  for (const node of document.querySelectorAll("[data-placeholder]"))
    node.placeholder = word(node.dataset.placeholder);

  for (const node of document.querySelectorAll("[data-language]"))
    node.setAttribute("aria-pressed", node.dataset.language === language);
}

export const clockTime = (seconds) => clock(seconds, {});
export const clockSeconds = (seconds) =>
  clock(seconds, { second: "2-digit", hourCycle: "h23" });

function clock(seconds, more) {
  const parts = { hour: "2-digit", minute: "2-digit", ...more };
  return new Intl.DateTimeFormat(language, parts).format(new Date(seconds * 1000));
}

export const number = (value) => new Intl.NumberFormat(language).format(value);
