// The operator's part: the list of conversations, and one of them in full.

import {
  find, holdEnd, keepAtEnd, make, makeButton, post, sendOnEnter, sync, unseen,
} from "./dom.js";
import { avatar, fillMessage, grouped, inOneLine } from "./messages.js";
import { closeSuggestion, setUpSuggestion } from "./suggestion.js";
import { count } from "./tabs.js";
import { clockTime, option, word } from "./words.js";

let conversations = [];
let selected; // a conversation's number
let attribute = "";
const read = new Map(); // the last message that the operator has seen, by conversation

export function setUpOperator() {
  const act = (id, path, body) =>
    find(id).addEventListener("click", () =>
      post(`/conversations/${selected}/${path}`, body(current())),
    );

  act("assign", "assignee", ({ mine }) => ({ me: !mine }));
  act("return-to-bot", "return-to-bot", () => ({ choice: option("bot") }));
  act("resolve", "status", ({ status }) => ({
    status: status === "resolved" ? "open" : "resolved",
  }));
  find("attribute").addEventListener("change", (event) =>
    post(`/conversations/${selected}/choice`, { choice: event.target.value }),
  );
  find("operator-composer").addEventListener("submit", send);
  find("operator-composer").addEventListener("change", drawComposer);
  sendOnEnter(find("operator-text"));
  setUpSuggestion(() => `/conversations/${selected}`, write);
  holdEnd(find("operator-log"));
}

const current = () => conversations.find(({ id }) => id === selected);
const writesNote = () => find("operator-composer").elements.kind.value === "note";

// Put a text into the composer, after what is there.
function write(text) {
  const field = find("operator-text");
  field.value = [field.value, text].filter(Boolean).join("\n");
  field.focus();
}

async function send(event) {
  event.preventDefault();
  const field = find("operator-text");
  const text = field.value;

  if (!text.trim()) return;

  field.value = "";

  const body = { text, private: writesNote() };

  if (!(await post(`/conversations/${selected}/operator`, body))) field.value ||= text;
}

// -- drawing --------------------------------------------------------------------

export function drawOperator(all, about) {
  const newest = all.at(-1)?.id;

  // A new conversation is selected, unless the operator is writing.
  if (!all.some(({ id }) => id === selected) || isNew(newest)) leaveFor(newest);

  announce(all);
  conversations = all;
  attribute = about.attribute;
  count("operator", all.flatMap(({ messages }) => messages.filter(isNews)).length);
  find("suggest").hidden = !about.suggests;
  drawList();
  drawThread();
  drawComposer();
}

// What an operator wants to know of: not what operators did themselves.
const isNews = ({ author, type }) => author !== "operator" && type !== "activity";

function isNew(id) {
  const known = conversations.some((conversation) => conversation.id === id);
  return !known && !find("operator-text").value && find("suggestion").hidden;
}

function drawList() {
  find("nothing").hidden = conversations.length > 0;

  if (!find("operator").hidden) read.set(selected, current()?.messages.at(-1)?.id);

  const newestFirst = conversations.toReversed().map((conversation) => ({
    ...conversation,
    selected: conversation.id === selected,
    messages: conversation.messages.slice(-1),
    unread: unread(conversation),
  }));
  sync(find("conversations"), newestFirst, ({ id }) => id, createRow, fillRow);
}

const unread = ({ id, messages }) =>
  messages.filter((each) => each.author === "customer" && each.id > (read.get(id) ?? 0))
    .length;

function createRow({ id }) {
  return make("li", "", makeButton("row", "", () => select(id)));
}

function leaveFor(id) {
  if (id !== selected) closeSuggestion();

  selected = id;
}

function select(id) {
  leaveFor(id);
  find("operator-log").replaceChildren();
  drawList();
  drawThread();
}

function fillRow(node, conversation) {
  const button = node.firstChild;
  const [last] = conversation.messages;
  button.setAttribute("aria-current", conversation.selected);
  button.replaceChildren(
    avatar(conversation.name),
    make("span", "row-name", conversation.name, make("small", "", ` #${conversation.id}`)),
    make("span", "row-last", last ? inOneLine(last) : ""),
    make("span", "row-time", last ? clockTime(last.time) : ""),
    ...unreadMark(conversation.unread),
    make("span", "badges", ...badges(conversation)),
  );
}

function unreadMark(count) {
  return count
    ? [make("span", "new", String(count), unseen(` ${word("unread", { count })}`))]
    : [];
}

function badges({ status, mode }) {
  return [
    make("span", `badge status-${status}`, word(`status_${status}`)),
    " ",
    make("span", `badge mode-${mode}`, word(`mode_${mode}`)),
  ];
}

function drawThread() {
  const conversation = current();
  find("thread").hidden = !conversation;

  if (!conversation) return;

  drawHead(conversation);
  const log = find("operator-log");
  keepAtEnd(log, () =>
    sync(log, grouped(conversation.messages), ({ id }) => id, () => make("div"), fill),
  );
}

function fill(node, message) {
  fillMessage(node, message, message.author === "operator");
}

function drawHead(conversation) {
  const { id, name, assignee, mine, status } = conversation;
  const owner = assignee ? word("assigned_to", { name: assignee }) : word("unassigned");
  find("thread-title").replaceChildren(name, make("small", "", ` #${id}`));
  find("thread-badges").replaceChildren(...badges(conversation));
  find("owner").textContent = owner;
  find("assign").textContent = word(mine ? "unassign" : "assign_me");
  find("resolve").textContent = word(status === "resolved" ? "reopen" : "resolve");
  find("attribute-name").textContent = attribute;
  drawAttribute(conversation.choice ?? "");
}

function drawAttribute(choice) {
  const select = find("attribute");
  const texts = [...new Set([option("bot"), option("human"), String(choice)])];

  if (texts.join("\n") !== [...select.options].map((o) => o.value).join("\n"))
    select.replaceChildren(...texts.map((text) => new Option(text)));

  select.value = choice;
}

function drawComposer() {
  const note = writesNote();
  const label = word(note ? "note_text" : "reply_text");
  find("operator-composer").classList.toggle("noting", note);
  find("operator-label").textContent = label;
  find("operator-text").placeholder = label;
  find("operator-send").textContent = word(note ? "add_note" : "send_reply");
}

// Announce what the customer's log does not: notes, and changes of status.
function announce(all) {
  const now = all.find(({ id }) => id === selected);
  const before = current();

  if (!now || !before || now.id !== before.id) return;

  const last = now.messages.at(-1);

  if (now.status !== before.status)
    announceText("announce_status", { id: now.id, status: word(`status_${now.status}`) });
  else if (last?.private && last.id !== before.messages.at(-1)?.id)
    announceText("announce_note", { text: inOneLine(last) });
}

function announceText(name, values) {
  find("announcer").textContent = word(name, values);
}
