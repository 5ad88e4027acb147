// The part of Chatwoot's Markdown that operators and bots use: nodes, never HTML.

import { make } from "./dom.js";

const ITEM = /^ {0,3}([-*+]|\d{1,9}[.)]) +/;
const DEEP = 8; // limit of nested quotes and lists; a text may nest thousands

const BLOCKS = [
  [/^ {0,3}([-*_])( *\1){2,} *$/, rule],
  [/^ {0,3}```/, code],
  [/^#{1,6} /, heading],
  [/^ {0,3}>/, quote],
  [ITEM, list],
];

const SPANS = [
  [/\\([!-/:-@[-`{-~])/, ([, mark]) => mark],
  [/`([^`]+)`/, ([, text]) => make("code", "", text)],
  [/\[([^\]]+)\]\(((?:https?:\/\/|mailto:)[^\s)]+)\)/, ([, text, url]) => link(url, text)],
  [/https?:\/\/[^\s<>"'`]*[^\s<>"'`.,:;!?)\]*_~]/, ([url]) => link(url, url)],
  [/\*\*(?=\S)([^]+?)(?<=\S)\*\*/, ([, text]) => make("strong", "", ...spans(text))],
  [/(?<!\w)__(?=\S)([^]+?)(?<=\S)__(?!\w)/, ([, text]) => make("strong", "", ...spans(text))],
  [/\*(?=[^\s*])([^*]+?)(?<=\S)\*/, ([, text]) => make("em", "", ...spans(text))],
  [/(?<!\w)_(?=[^\s_])([^_]+?)(?<=\S)_(?!\w)/, ([, text]) => make("em", "", ...spans(text))],
  [/~~(?=\S)([^]+?)(?<=\S)~~/, ([, text]) => make("s", "", ...spans(text))],
];

// The nodes that a text becomes.
export const rendered = (text) => blocks(text.split(/\r?\n/));

// A text without its marks, in one line.
export const plain = (text) => rendered(text).map((node) => node.textContent).join(" ");

function blocks(lines, depth = 0) {
  const rest = [...lines];
  const nodes = [];

  while (rest.length)
    if (rest[0].trim()) nodes.push(block(rest, depth));
    else rest.shift();

  return nodes;
}

// Each reader removes its lines from the beginning of the rest.
function block(rest, depth) {
  const [, read] = BLOCKS.find(([begins]) => begins.test(rest[0])) ?? [];
  return read && depth < DEEP ? read(rest, depth + 1) : paragraph(rest);
}

function take(rest, belongs) {
  const end = rest.findIndex((line) => !belongs(line));
  return rest.splice(0, end < 0 ? rest.length : end);
}

function paragraph(rest) {
  const begins = (line) => BLOCKS.some(([begin]) => begin.test(line));
  const lines = [rest.shift(), ...take(rest, (line) => line.trim() && !begins(line))];
  return make("p", "", ...spans(lines.join("\n")));
}

function rule(rest) {
  rest.shift();
  return make("hr");
}

function code(rest) {
  rest.shift();
  const lines = take(rest, (line) => !/^ {0,3}```\s*$/.test(line));
  rest.shift();
  return make("pre", "", make("code", "", lines.join("\n")));
}

// Not an element of headings: screen readers navigate the page by these.
function heading(rest) {
  return make("p", "heading", ...spans(rest.shift().replace(/^#+ +| +#+ *$/g, "")));
}

function quote(rest, depth) {
  const lines = take(rest, (line) => /^ {0,3}>/.test(line));
  const inner = lines.map((line) => line.replace(/^ {0,3}> ?/, ""));
  return make("blockquote", "", ...blocks(inner, depth));
}

function list(rest, depth) {
  const kind = (line) => ITEM.exec(line)?.[1].at(-1);
  const first = kind(rest[0]);
  const node = make(".)".includes(first) ? "ol" : "ul");

  if (node.localName === "ol") node.start = parseInt(rest[0], 10);

  while (rest.length && kind(rest[0]) === first) node.append(item(rest, depth));

  return node;
}

function item(rest, depth) {
  const line = rest.shift();
  const { length } = ITEM.exec(line)[0];
  const margin = new RegExp(`^ {1,${length}}`);
  const more = take(rest, (next) => /^ {2,}\S/.test(next));
  const inner = [line.slice(length), ...more.map((next) => next.replace(margin, ""))];
  return make("li", "", ...blocks(inner, depth));
}

// Texts and nodes within a line. The leftmost match comes first.
function spans(text) {
  const nodes = [];
  let rest = text;

  for (let found; (found = first(rest)); ) {
    const [match, read] = found;
    nodes.push(rest.slice(0, match.index), read(match));
    rest = rest.slice(match.index + match[0].length);
  }

  return [...nodes, rest];
}

const first = (text) =>
  SPANS.map(([pattern, read]) => [pattern.exec(text), read])
    .filter(([match]) => match)
    .toSorted(([a], [b]) => a.index - b.index)[0];

function link(url, text) {
  const node = make("a", "", text);
  node.href = url;
  node.target = "_blank";
  node.rel = "noopener";
  return node;
}
