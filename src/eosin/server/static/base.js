// What every page shares: asking the server, building elements, an answer of a Run, keys.

/**
 * Ask the server; resolves to its JSON, or to the whole response of an image; rejects with an Error
 * that holds its sentence. Where it is busy or not ready yet, it is asked `again` so many times, a second later each.
 */
export async function ask(path, { again = 0, ...options } = {}) {
  let response;
  try {
    response = await fetch(path, options);
  } catch (fault) {
    if (fault.name === "AbortError") throw fault;
    throw new Error("The server does not answer; is it still running?");
  }
  if (again && response.headers.has("Retry-After")) {
    await new Promise((resolve) => setTimeout(resolve, 1000));
    return ask(path, { ...options, again: again - 1 });
  }
  if (response.status === 401) location.assign("/login");
  if (response.headers.get("content-type")?.startsWith("image/")) return response;
  const said = await response.json().catch(() => ({}));
  if (!response.ok && !said.runs) {
    throw Object.assign(new Error(said.error || `the server answers ${response.status}`), { status: response.status });
  }
  return said;
}

/** Send a value as JSON. */
export const send = (path, value) =>
  ask(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(value) });

/** An element: `el("p", {class: "quiet"}, "text", child)`; a function is a listener of its name. */
export function el(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(name, value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value != null) made.setAttribute(name, value);
  }
  made.append(...children.flat(Infinity).filter((each) => each != null && each !== false));
  return made;
}

/** Say a sentence to everybody, screen readers too; it goes after some seconds. */
export function announce(sentence) {
  const line = document.getElementById("said");
  line.textContent = sentence;
  clearTimeout(announce.timer);
  announce.timer = setTimeout(() => (line.textContent = ""), 6000);
}

export const percent = (share) => `${(100 * share).toFixed(Math.min(share, 1 - share) < 0.005 && share % 1 ? 2 : 1)} %`;

/** Probabilities of classes, the chosen one in bold. */
export function bars(probabilities, decision) {
  return el("dl", { class: "bars" }, Object.entries(probabilities).map(([name, share]) =>
    el("div", {},
      el("dt", { class: name === decision ? "chosen" : null }, name),
      el("dd", {}, el("meter", { min: 0, max: 1, value: share, "aria-label": `${name} ${percent(share)}` })),
      el("dd", { class: name === decision ? "chosen" : null }, percent(share)))));
}

const flagWords = JSON.parse(document.body.dataset.flags);
const sentence = (text) => `${text[0].toUpperCase()}${text.slice(1)}`;

/** What a Run says of an image: `said` is an entry of /predict. */
export function answerCard(said) {
  if (said.error) return el("div", { class: "answer" }, el("p", { class: "fault" }, said.error));
  const unsure = said.answer === "abstain";
  return el("div", { class: "answer" },
    el("p", { class: "decision" }, unsure ? `No answer (most likely ${said.decision})` : said.decision),
    bars(said.probabilities, said.decision),
    el("dl", { class: "facts" },
      said.set?.length ? fact("Classes that cannot be ruled out", said.set.join(", ")) : null,
      said.familiarity == null ? null : fact("Familiarity", percent(said.familiarity))),
    el("ul", { class: "flags" },
      said.flags?.map((flag) => el("li", {}, sentence(flagWords[flag] || flag))),
      said.familiarity == null
        ? el("li", { class: "good" }, "This Run cannot tell whether it knows such tissue.")
        : said.flags.length ? null : el("li", { class: "good" }, "Nothing unusual about this image."),
      said.note ? el("li", { class: "good" }, said.note) : null));
}

const fact = (title, text) => el("div", {}, el("dt", {}, title), el("dd", {}, text));

/**
 * Listen for keys outside of fields; `?` lists them. `wanted`: {key: [what it does, listener]},
 * keys as in KeyboardEvent.key, several for one listener parted by a space ("ArrowRight n").
 */
export function keys(wanted) {
  const help = el("dialog", { "aria-labelledby": "keys" },
    el("h2", { id: "keys" }, "Keys"),
    el("dl", {}, Object.entries(wanted).map(([names, [does]]) => [
      el("dt", {}, names.split(" ").map((name) => [el("kbd", {}, shown(name)), " "])), el("dd", {}, does)])),
    el("form", { method: "dialog" }, el("button", { class: "button" }, "Close")));
  document.body.append(help);
  const known = new Map(Object.entries(wanted).flatMap(([names, [, act]]) => names.split(" ").map((name) => [name, act])));
  known.set("?", () => help.showModal());
  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest?.("input:not([type=radio]):not([type=checkbox]):not([type=range]), select, textarea, dialog");
    const pressing = event.target.closest?.("button, a, summary") && [" ", "Enter"].includes(event.key);
    if (typing || pressing || event.ctrlKey || event.metaKey || event.altKey) return;
    const act = known.get(event.key === " " ? "Space" : event.key);
    if (!act) return;
    event.preventDefault();
    act(event);
  });
  return () => help.showModal();
}

const shown = (name) => ({ ArrowLeft: "←", ArrowRight: "→", ArrowUp: "↑", ArrowDown: "↓" })[name] || name;
