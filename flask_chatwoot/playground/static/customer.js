// The customer's part: the widget, with its pre-chat form.

import {
  find, holdEnd, keepAtEnd, make, makeButton, post, sendOnEnter, sync,
} from "./dom.js";
import { author, fillMessage, grouped } from "./messages.js";
import { count } from "./tabs.js";
import { language, option, word } from "./words.js";

const REMEMBERED = "playground-conversation";

let files = [];
let mine; // the number of the conversation that is shown; undefined: the form is shown
let run; // the id of the server's run: another run has other conversations
let beginning = false;

export function setUpCustomer() {
  find("pre-chat").addEventListener("submit", begin);
  find("customer-composer").addEventListener("submit", say);
  find("attach").addEventListener("click", () => find("customer-files").click());
  find("customer-files").addEventListener("change", choose);
  find("new-conversation").addEventListener("click", startAnew);
  find("start-anew").addEventListener("click", startAnew);
  sendOnEnter(find("customer-text"));
  holdEnd(find("customer-log"));
}

// The id of the server's run: after a reload, the same conversation is shown again.
export function knowRun(current) {
  if (run === current) return;

  run = current;
  const [remembered, number] = (sessionStorage.getItem(REMEMBERED) ?? "").split(" ");
  mine = remembered === run ? Number(number) : undefined;
}

function follow(number) {
  mine = number;

  if (number) sessionStorage.setItem(REMEMBERED, `${run} ${number}`);
  else sessionStorage.removeItem(REMEMBERED);
}

async function begin(event) {
  event.preventDefault();

  if (beginning) return;

  beginning = true;
  const begun = await post("/conversations", {
    name: find("name").value,
    choice: find("choice").value,
    text: find("first-message").value,
    language,
  });
  beginning = false;

  if (!begun) return;

  follow(begun.id);
  find("first-message").value = "";
  drawChat();
  find("customer-text").focus();
}

function startAnew() {
  follow(undefined);
  drawChat();
  find(find("name").value ? "choice" : "name").focus();
}

async function say(event) {
  event.preventDefault();
  const field = find("customer-text");
  const text = field.value;

  if (!text.trim() && !files.length) return;

  const sent = files;
  field.value = "";
  files = [];
  drawFiles();

  if (await post(`/conversations/${mine}/customer`, { text, files: sent })) return;

  field.value ||= text;
  files.unshift(...sent);
  drawFiles();
}

// -- files ----------------------------------------------------------------------

async function choose(event) {
  const chosen = [...event.target.files];
  event.target.value = "";
  files.push(...(await Promise.all(chosen.map(read))));
  drawFiles();
  find("customer-text").focus();
}

async function read(file) {
  const data = await new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result.split(",")[1] ?? "");
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(file);
  });

  return { name: file.name, type: file.type, data };
}

function drawFiles() {
  find("chosen-files").replaceChildren(...files.map(chip));
}

function chip(file) {
  const remove = makeButton("", "×", () => {
    files = files.filter((other) => other !== file);
    drawFiles();
    find("customer-text").focus();
  });
  remove.setAttribute("aria-label", word("remove", { name: file.name }));

  return make("li", "", file.name, remove);
}

// -- drawing --------------------------------------------------------------------

let drawn = [];

export function drawCustomer(conversations) {
  drawn = conversations;
  drawChoice();
  drawFiles();
  drawChat();
}

function drawChoice() {
  const select = find("choice");

  if (select.dataset.language === language) return;

  const place = select.selectedIndex;
  const empty = new Option(word("choose"), "");
  select.replaceChildren(empty, new Option(option("bot")), new Option(option("human")));
  select.selectedIndex = Math.max(0, place);
  select.dataset.language = language;
}

function drawChat() {
  const conversation = drawn.find(({ id }) => id === mine);
  find("pre-chat").hidden = Boolean(mine);
  find("chat").hidden = !mine;
  find("new-conversation").hidden = !mine;
  const log = find("customer-log");
  const items = conversation ? visible(conversation) : [];

  count("customer", items.filter(({ author }) => author && author !== "customer").length);

  keepAtEnd(log, () => {
    find("resolved").hidden = conversation?.status !== "resolved";
    sync(log, items, ({ id }) => id, () => make("div"), (node, item) =>
      item.id === "typing" ? fillTyping(node) : fill(node, item),
    );
  });
}

// Customers see neither notes nor activities. The typing indicator is the last line.
function visible(conversation) {
  const messages = grouped(
    conversation.messages.filter(
      (message) => !message.private && message.type !== "activity",
    ),
  );

  return conversation.typing ? [...messages, { id: "typing" }] : messages;
}

function fill(node, message) {
  const own = message.author === "customer";
  fillMessage(node, message, own, (value) => pick(message, value));
  node.setAttribute("aria-label", own ? word("you") : author(message));
}

function fillTyping(node) {
  node.className = "typing";
  const dots = make("span", "dots", make("i"), make("i"), make("i"));
  dots.setAttribute("aria-hidden", "true");
  node.replaceChildren(dots, word("is_typing"));
}

async function pick(message, value) {
  find("customer-text").focus();
  await post(`/conversations/${mine}/pick`, { message: message.id, value });
}
