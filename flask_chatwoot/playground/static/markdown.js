// Markdown as Chatwoot reads it, with the same library and the same options
// (app/javascript/shared/helpers/MessageFormatter.js), but as nodes: never HTML.

import { make } from "./dom.js";
import MarkdownIt from "./markdown-it.js";

const reader = new MarkdownIt({
  html: false,
  breaks: true,
  linkify: true,
  typographer: true,
  quotes: "“”‘’",
  maxNesting: 20,
});

const TAGS = new Set([
  ...["p", "strong", "em", "s", "blockquote", "ul", "ol", "li"],
  ...["table", "thead", "tbody", "tr", "th", "td"],
]);
const LINK = /^(https?:|mailto:|tel:)/i;

// The nodes that a text becomes.
export function rendered(text) {
  const root = make("div", "");
  fill(root, reader.parse(text, {}));
  return [...root.childNodes];
}

// A text without its marks, in one line.
export const plain = (text) => words(reader.parse(text, {}), " ").trim();

const words = (tokens, between) => tokens.map(said).filter(Boolean).join(between);

function said({ type, children, content }) {
  if (type === "inline") return words(children, "");

  return type === "softbreak" || type === "hardbreak" ? " " : content;
}

// Tokens come as a list; those that open an element nest what follows.
function fill(root, tokens) {
  const open = [root];

  for (const token of tokens) {
    const parent = open.at(-1);

    if (token.hidden) continue;

    if (token.nesting === 1) {
      const node = element(token);
      parent.append(node);
      open.push(node);
    } else if (token.nesting === -1) close(open);
    else parent.append(...leaf(token));
  }
}

function close(open) {
  const node = open.pop();

  // Where a row is shown as a line, its cells are words.
  if (["TD", "TH"].includes(node.tagName)) node.after(" ");
}

function element(token) {
  // Not an element of headings: screen readers navigate the page by these.
  if (token.type === "heading_open") return make("p", "heading");

  if (token.type === "link_open") return link(token.attrGet("href"));

  const node = make(TAGS.has(token.tag) ? token.tag : "span", "");
  const start = token.attrGet("start");

  if (start !== null) node.start = Number(start);

  return node;
}

function leaf(token) {
  const { type, content } = token;

  switch (type) {
    case "inline": {
      const root = make("div", "");
      fill(root, token.children);
      return [...root.childNodes];
    }
    case "softbreak":
    case "hardbreak":
      return [make("br", "")];
    case "hr":
      return [make("hr", "")];
    case "code_inline":
      return [make("code", "", content)];
    case "fence":
    case "code_block":
      return [make("pre", "", make("code", "", content.replace(/\n$/, "")))];
    case "image": // of another host, which the page asks for nothing
      return [picture(token)];
    default:
      return [content];
  }
}

function picture(token) {
  const node = link(token.attrGet("src"));
  node.append(token.content || token.attrGet("src"));
  return node;
}

function link(url) {
  if (!LINK.test(url)) return make("span", "");

  const node = make("a", "");
  node.href = url;
  node.target = "_blank";
  node.rel = "noreferrer noopener nofollow";
  return node;
}
