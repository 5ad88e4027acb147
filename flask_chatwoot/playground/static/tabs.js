// On a narrow screen the three parts are tabs; on a wide one they are side by side.

import { find } from "./dom.js";

const narrow = matchMedia("(max-width: 1099px)");
const bar = find("tabs");
const tabs = [...bar.querySelectorAll("button")];
const KEYS = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity };

let chosen = tabs[0];

export function setUpTabs() {
  for (const tab of tabs) tab.addEventListener("click", () => choose(tab));

  bar.addEventListener("keydown", move);
  narrow.addEventListener("change", arrange);
  arrange();
}

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
  const last = tabs.length - 1;
  const place = tabs.indexOf(chosen) + step;
  const wrapped = Number.isFinite(step) ? (place + tabs.length) % tabs.length : place;
  choose(tabs[Math.min(last, Math.max(0, wrapped))]);
  chosen.focus();
}

function arrange() {
  bar.hidden = !narrow.matches;
  bar.setAttribute("role", "tablist");

  for (const tab of tabs) {
    const part = find(tab.getAttribute("aria-controls"));
    const selected = tab === chosen;
    tab.setAttribute("role", "tab");
    tab.setAttribute("aria-selected", selected);
    tab.tabIndex = selected ? 0 : -1;
    part.hidden = narrow.matches && !selected;

    if (narrow.matches) part.setAttribute("role", "tabpanel");
    else part.removeAttribute("role");

    const title = narrow.matches ? tab.id : `${part.id}-title`;
    part.setAttribute("aria-labelledby", title);
  }
}
