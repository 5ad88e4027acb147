// "Suggest a reply" of the operator's composer: ask, change, accept or discard.

import { ask, find, sendOnEnter } from "./dom.js";
import { rendered } from "./markdown.js";

let path = () => ""; // of the selected conversation
let accept = () => {};
let asked = 0; // counts the requests: an answer to an older one is dropped
let shown = { message: "", follow_up_context: null };

// conversationPath: where requests about the selected conversation go
// take: is called with a text that was accepted
export function setUpSuggestion(conversationPath, take) {
  path = conversationPath;
  accept = take;
  find("suggest").addEventListener("click", () => request("suggestion", {}));
  find("suggestion").addEventListener("submit", followUp);
  find("discard").addEventListener("click", () => {
    closeSuggestion();
    find("suggest").focus();
  });
  find("accept").addEventListener("click", () => {
    closeSuggestion();
    accept(shown.message);
  });
  sendOnEnter(find("follow-up"));
}

function followUp(event) {
  event.preventDefault();
  const message = find("follow-up").value;

  if (message.trim())
    request("follow-up", { message, follow_up_context: shown.follow_up_context });
}

async function request(what, body) {
  const number = ++asked;
  const before = what === "follow-up";
  draw("thinking");
  const answer = await ask(`${path()}/${what}`, body);

  if (number !== asked) return;

  // As in Chatwoot, an error or an empty text leaves what was there before.
  if (!answer?.message) {
    draw(before ? "ready" : "closed");
    find(before ? "follow-up" : "suggest").focus();
    return;
  }

  shown = answer;
  find("follow-up").value = "";
  find("suggested").replaceChildren(...rendered(answer.message));
  draw("ready");
  find("accept").focus();
}

// Drop the suggestion, and what is still being asked.
export function closeSuggestion() {
  asked += 1;
  draw("closed");
}

function draw(state) {
  find("operator-composer").hidden = state !== "closed";
  find("suggestion").hidden = state === "closed";
  find("thinking").hidden = state !== "thinking";
  find("suggestion-ready").hidden = state !== "ready";
}
