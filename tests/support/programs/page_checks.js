// What the browser tests read from the playground's page, one function for each check,
// and how they fill in a form at once.

const every = (selector) => [...document.querySelectorAll(selector)];
const isVisible = (node) =>
  node.checkVisibility({ opacityProperty: true, visibilityProperty: true });
const atEnd = (log) => log.scrollHeight - log.scrollTop - log.clientHeight < 2;

// The visible texts of all elements, in one call: an element may be replaced between two.
const texts = (selector) =>
  every(selector).map((node) => (isVisible(node) ? node.innerText.trim() : ""));

// Fill in these fields, by their ids: a list by the text of its option.
function fill(values) {
  for (const [id, text] of Object.entries(values)) {
    const field = document.getElementById(id);
    const isTooLong = field.maxLength >= 0 && text.length > field.maxLength;
    const isLocked = field.matches(":disabled, :read-only:not(select), [inert] *");
    if (!isVisible(field) || isTooLong || isLocked)
      throw new Error(`Nobody can fill in ${id}.`);
    const options = [...(field.options ?? [{ text, value: text }])];
    const option = options.find((one) => one.text === text && !one.disabled);
    if (!option) throw new Error(`${id} does not offer ${text}.`);
    field.value = option.value;
    for (const name of ["input", "change"])
      field.dispatchEvent(new Event(name, { bubbles: true }));
  }
}

const chosen = (select) => document.querySelector(select).value;

const elementsOf = (place) => every(`${place} *`).map((node) => node.localName);

const attributesOf = (place) =>
  every(`${place} *`).flatMap((node) => node.getAttributeNames());

const styleOf = (node, name) => getComputedStyle(document.querySelector(node))[name];

const lastText = (place) =>
  every(place).at(-1).innerText.split("\n").map((line) => line.trim()).filter(Boolean)
    .join("\n");

const widthOf = (picture) => document.querySelector(picture)?.naturalWidth;

// Whether a line is open, and in view: if it is too long, at least its beginning.
function inView(line, log) {
  const inner = line.getBoundingClientRect();
  const outer = document.querySelector(log).getBoundingClientRect();
  const above = inner.top - outer.top;
  const ends = inner.bottom <= outer.bottom || above < 4;
  return line.querySelector("pre") !== null && above >= 0 && ends;
}

const everyLogIsAtEnd = () => every(".log").every(atEnd);

const nothingBelow = () => document.documentElement.scrollHeight <= innerHeight;

function lastReply() {
  const node = every("#customer-log .by-bot .text").at(-1);
  return node.innerHTML.replaceAll(' target="_blank" rel="noreferrer noopener nofollow"', "");
}

function withoutVisibleFocus() {
  const wanted = "button, select, textarea, summary, [tabindex='0']";
  return every(wanted).filter((node) => {
    if (!node.checkVisibility()) return false;
    node.focus({ focusVisible: true });
    const style = getComputedStyle(node);
    return style.outlineStyle === "none" || parseFloat(style.outlineWidth) < 2;
  }).map((node) => node.outerHTML.slice(0, 80));
}

const overflowing = () =>
  every(".top, .widget-head, .inbox ul, .thread-head, .attribute, .log, .line, .faults")
    .filter((node) => node.scrollWidth > node.clientWidth)
    .map((node) => [node.className, node.scrollWidth, node.clientWidth]);

const widerThanScreen = () =>
  every("body *").filter((node) =>
    node.checkVisibility() && !node.closest(".unseen, svg, h2")
    && node.getBoundingClientRect().right > innerWidth + 1
  ).map((node) => node.outerHTML.slice(0, 90));

// All texts of the page, hidden ones and those for screen readers included.
function allTexts() {
  const found = every("[aria-label], [placeholder], [title]").flatMap((node) =>
    ["aria-label", "placeholder", "title"].map((name) => node.getAttribute(name)));
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) found.push(walker.currentNode.data.trim());
  return found.filter(Boolean);
}

// Texts whose contrast is below the 4.5 of WCAG 2.2 (1.4.3).
function lowContrast() {
  const numbers = (colour) => colour.match(/[\d.]+/g).map(Number);
  const light = (colour) => {
    const [r, g, b] = numbers(colour).map((c) => c / 255)
      .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (node) => {
    for (; node; node = node.parentElement) {
      const style = getComputedStyle(node);
      if (style.backgroundImage !== "none") return null;
      const [, , , alpha = 1] = numbers(style.backgroundColor);
      if (alpha === 1) return style.backgroundColor;
    }
  };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !node.checkVisibility()) continue;
    if (node.closest(".unseen, script, noscript")) continue;
    const back = behind(node);
    if (back === null) continue;
    const [a, b] = [light(getComputedStyle(node).color), light(back)];
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (contrast < 4.5) found.push([node.outerHTML.slice(0, 80), contrast]);
  }
  return found;
}
