// On a wide screen the three parts are side by side. On a narrower one the customer is
// beside a part that tabs choose, and on a phone they choose among all three.

import { find } from "./dom.js";
import { word } from "./words.js";

const narrow = matchMedia("(max-width: 1099px)");
const phone = matchMedia("(max-width: 767px)");
const bar = find("tabs");
const tabs = [...bar.querySelectorAll("button")];
const KEYS = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity };

let chosen = tabs[0];
const seen = new Map(); // what a part had when it was visible, by the part's id

export function setUpTabs() {
  for (const tab of tabs) tab.addEventListener("click", () => choose(tab));

  bar.addEventListener("keydown", move);
  narrow.addEventListener("change", arrange);
  phone.addEventListener("change", arrange);
  arrange();
}

const withCustomer = () => phone.matches || !narrow.matches;
const offered = () => tabs.filter((tab) => withCustomer() || partOf(tab) !== "customer");
const partOf = (tab) => tab.getAttribute("aria-controls");

function choose(tab) {
  chosen = tab;
  arrange();

  // A hidden log cannot be scrolled, so it is not at its end.
  for (const log of document.querySelectorAll(".log")) log.scrollTop = log.scrollHeight;
}

function move(event) {
  const step = KEYS[event.key];

  if (step === undefined) return;

  event.preventDefault();
  const among = offered();
  const last = among.length - 1;
  const place = among.indexOf(chosen) + step;
  const wrapped = Number.isFinite(step) ? (place + among.length) % among.length : place;
  choose(among[Math.min(last, Math.max(0, wrapped))]);
  chosen.focus();
}

function arrange() {
  bar.hidden = !narrow.matches;
  bar.setAttribute("role", "tablist");

  if (!offered().includes(chosen)) chosen = offered()[0];

  for (const tab of tabs) {
    const part = find(partOf(tab));
    const isTab = narrow.matches && offered().includes(tab);
    const selected = tab === chosen;
    tab.hidden = !isTab;
    tab.setAttribute("role", "tab");
    tab.setAttribute("aria-selected", selected);
    tab.tabIndex = selected ? 0 : -1;
    part.hidden = isTab && !selected;

    if (isTab) part.setAttribute("role", "tabpanel");
    else part.removeAttribute("role");

    part.setAttribute("aria-labelledby", isTab ? tab.id : `${part.id}-title`);
    drawBadge(part.id);
  }
}

// Count what is in a part. Its tab shows how much of it came while it was hidden.
const counts = new Map();

export function count(part, number) {
  counts.set(part, number);
  drawBadge(part);
}

function drawBadge(part) {
  const number = counts.get(part) ?? 0;

  if (!find(part).hidden || number < (seen.get(part) ?? 0)) seen.set(part, number);

  const more = number - (seen.get(part) ?? 0);
  const badge = find(`new-${part}`);
  badge.hidden = more === 0;
  badge.textContent = more || "";

  if (more) badge.setAttribute("aria-label", word("new_items", { count: more }));
}
