// The texts of the page in the chosen language, and its numbers and times.

const TABLES = await (await fetch("/words")).json(); // by language
const REMEMBERED = "playground-language";

export let language = remembered() ?? preferred();

function remembered() {
  const chosen = localStorage.getItem(REMEMBERED);
  return chosen in TABLES ? chosen : undefined;
}

function preferred() {
  const known = navigator.languages.map((tag) => tag.slice(0, 2).toLowerCase());
  return known.find((tag) => tag in TABLES) ?? "en";
}

// The names of all languages, each in itself, by their codes.
export const languages = () =>
  Object.entries(TABLES).map(([code, table]) => [code, table.language_name]);

export function chooseLanguage(chosen) {
  language = chosen;
  localStorage.setItem(REMEMBERED, chosen);
}

// The text with this name. The values replace its {placeholders}; count chooses its
// plural form.
export function word(name, values = {}) {
  const text = formed(TABLES[language][name] ?? name, values.count);
  return text.replace(/\{(\w+)\}/g, (_, gap) => values[gap]);
}

function formed(text, count) {
  if (typeof text === "string") return text;

  return text[new Intl.PluralRules(language).select(count)] ?? text.other;
}

// An activity message in the language of the page; unchanged, if it is not known.
// Chatwoot writes them in the language of the account, and the simulator in English.
export function activity(text) {
  for (const [name, english] of Object.entries(TABLES.en))
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
}

export const clockTime = (seconds) => clock(seconds, {});
export const clockSeconds = (seconds) =>
  clock(seconds, { second: "2-digit", hourCycle: "h23" });

function clock(seconds, more) {
  const parts = { hour: "2-digit", minute: "2-digit", ...more };
  return new Intl.DateTimeFormat(language, parts).format(new Date(seconds * 1000));
}

// A number with its unit, such as "millisecond" or "kilobyte".
export const quantity = (value, unit) =>
  new Intl.NumberFormat(language, { style: "unit", unit }).format(value);
