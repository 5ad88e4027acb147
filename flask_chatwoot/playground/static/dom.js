// Small helpers. Texts become text nodes, never HTML.

import { language, word } from "./words.js";

export const find = (id) => document.getElementById(id);

// An element with a class, and children that are texts, elements or nothing.
export function make(tag, className, ...children) {
  const node = document.createElement(tag);

  if (className) node.className = className;

  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

// A button that calls a function.
export function makeButton(className, text, act) {
  const node = make("button", className, text);
  node.type = "button";
  node.addEventListener("click", act);
  return node;
}

export const unseen = (text) => make("span", "unseen", text);

// Make one child for each item, in this order. A child whose item is unchanged is not
// touched, so that it keeps the focus and a screen reader does not read it again.
export function sync(parent, items, key, create, fill) {
  const old = new Map([...parent.children].map((node) => [node.dataset.key, node]));

  items.forEach((item, place) => {
    const name = String(key(item));
    const node = old.get(name) ?? create(item);
    old.delete(name);
    refresh(node, name, item, fill);

    if (parent.children[place] !== node)
      parent.insertBefore(node, parent.children[place] ?? null);
  });

  for (const node of old.values()) node.remove();
}

const shown = new WeakMap();

function refresh(node, name, item, fill) {
  const mark = language + JSON.stringify(item);

  if (shown.get(node) === mark) return;

  shown.set(node, mark);
  node.dataset.key = name;
  fill(node, item);
}

// Call a function, and scroll a list that was at its end to its new end.
export function keepAtEnd(list, change) {
  const was = atEnd(list) || list.childElementCount === 0;
  change();

  if (was) list.scrollTop = list.scrollHeight;
}

const atEnd = (list) => list.scrollHeight - list.scrollTop - list.clientHeight < 40;

// Keep a list at its end when its size changes, which is no scrolling of the user.
export function holdEnd(list) {
  const size = () => `${list.clientWidth} ${list.clientHeight} ${list.scrollHeight}`;
  let known = size();
  let held = true;

  list.addEventListener("scroll", () => {
    // The browser scrolls, too, when lines are broken anew.
    if (size() === known) held = atEnd(list);

    known = size();
  });
  new ResizeObserver(() => {
    if (held) list.scrollTop = list.scrollHeight;

    known = size();
  }).observe(list);
}

// Send a request; returns the answer, or null after showing what went wrong.
export const post = (path, body = {}) =>
  send(path, body, (error) => word("failed", { why: error.message }));

// The same, but an error is shown as the server words it.
export const ask = (path, body) => send(path, body, (error) => error.message);

async function send(path, body, shown) {
  const problem = find("problem");
  problem.textContent = "";

  try {
    const response = await fetch(path, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
    });
    const answer = await response.json();

    if (!response.ok) throw new Error(answer.error ?? response.status);

    return answer;
  } catch (error) {
    problem.textContent = shown(error);
    return null;
  }
}

// Enter sends the form, Shift+Enter begins a line. An input method keeps its Enter.
export function sendOnEnter(field) {
  field.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;

    event.preventDefault();
    field.form.requestSubmit();
  });
}
