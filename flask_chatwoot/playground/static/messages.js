// Messages, as both sides show them.

import { make, makeButton, unseen } from "./dom.js";
import { plain, rendered } from "./markdown.js";
import { activity, clockTime, quantity, word } from "./words.js";

const WITHOUT_NAME = ["bot", "system"]; // authors whom the page names

const GROUP_SECONDS = 60;
const COLOURS = 5; // in style.css

// The messages, each with whether it goes on with what its author wrote right before.
export function grouped(messages) {
  return messages.map((message, place) => ({
    ...message,
    follows: place > 0 && goesOn(messages[place - 1], message),
  }));
}

const goesOn = (before, message) =>
  ["author", "name", "private", "type"].every((part) => before[part] === message[part])
  && message.type !== "activity"
  && message.time - before.time < GROUP_SECONDS;

// The first letters of a name, in a colour of its own.
export function avatar(name) {
  const words = name.split(/\s+/).filter(Boolean);
  const letters = words.slice(0, 2).map(([first]) => first).join("");
  const colour = [...name].reduce((sum, letter) => sum + letter.codePointAt(0), 0);
  const node = make("span", `avatar colour-${colour % COLOURS}`, letters.toUpperCase());
  node.setAttribute("aria-hidden", "true");
  return node;
}

// Fill a node with a message.
//   own: whether the reader of this side wrote it
//   pick: called when a button is pressed; undefined: the buttons are disabled
export function fillMessage(node, message, own, pick) {
  if (message.type === "activity") {
    node.className = "message activity";
    node.replaceChildren(make("p", "", inOneLine(message)));
    return;
  }

  node.className = `message by-${message.author}`;
  node.classList.toggle("own", own);
  node.classList.toggle("note", message.private);
  node.classList.toggle("follows", Boolean(message.follows));
  node.title = clockTime(message.time);
  node.replaceChildren(
    ...[
      message.follows ? null : avatar(author(message)),
      head(message, own),
      message.private ? noteMark() : null,
      body(message, pick),
    ].filter(Boolean),
  );
}

// The text of a message in one line.
export const inOneLine = ({ type, text }) =>
  type === "activity" ? activity(text ?? "") : plain(text ?? "");

function head(message, own) {
  const name = own ? word("you") : author(message);
  return make("p", "by", make("strong", "", name), " ", clockTime(message.time));
}

export function author(message) {
  const { author, name } = message;
  return WITHOUT_NAME.includes(author) ? word(`author_${author}`) : name;
}

function noteMark() {
  return make("p", "note-mark", word("only_team"));
}

function body(message, pick) {
  const bubble = make("div", "bubble");

  if (message.text) bubble.append(make("div", "text", ...rendered(message.text)));

  for (const attachment of message.attachments) bubble.append(file(attachment));

  if (message.buttons.length) bubble.append(buttons(message, pick));

  return bubble;
}

function buttons(message, pick) {
  const group = make("div", "buttons");

  for (const { title, value } of message.buttons) {
    const picked = message.picked.includes(value);
    const button = makeButton(picked ? "picked" : "", title, () => pick(value));
    button.disabled = !pick || message.picked.length > 0;

    if (picked) button.setAttribute("aria-label", word("picked", { title }));

    group.append(button);
  }

  return group;
}

function file({ kind, url, size }) {
  if (!/^https?:/.test(url)) return make("p", "file", kind);

  const name = nameOf(url);

  const link = make("a", "file");
  link.href = url;
  link.target = "_blank";
  link.rel = "noopener";

  if (kind === "image") {
    const image = make("img");
    image.src = url;
    image.alt = name;
    link.append(image);
  } else {
    link.append(name, unseen(", "), make("small", "", kilobytes(size)));
  }

  return link;
}

function nameOf(url) {
  const last = url.split("/").pop();

  try {
    return decodeURIComponent(last);
  } catch {
    return last;
  }
}

const kilobytes = (size) => quantity(Math.max(1, Math.round(size / 1000)), "kilobyte");
