// Try: images in, what each Run says of them out. Nothing is stored.
import { announce, answerCard, ask, el, keys, percent } from "./base.js";

const results = document.getElementById("results");
const chooser = document.getElementById("files");
const drop = document.getElementById("drop");
const known = ask("/runs").catch((fault) => (announce(fault.message), []));
let explaining = Promise.resolve(); // one map after the other: the server explains one at a time

const form = (file) => {
  const body = new FormData();
  body.append("images", file, file.name || "image.png");
  return { method: "POST", body, again: 30 };
};
const named = (...names) => names.map((name) => `run=${encodeURIComponent(name)}`).join("&");
const inTurn = (work) => (explaining = explaining.then(work, work));

async function take(files) {
  for (const file of files) {
    const shown = article(file);
    results.prepend(shown.card);
    shown.card.querySelector("h2").focus();
    try {
      shown.fill(await ask("/predict", form(file)), await known);
    } catch (fault) {
      shown.fail(fault.message);
    }
  }
}

function article(file) {
  const name = file.name || "pasted image";
  const body = el("div", {}, el("p", { class: "quiet" }, "Scoring ..."));
  const card = el("section", { class: "tried" },
    el("div", { class: "row spread" }, el("h2", { tabindex: -1 }, name),
      el("button", { class: "button button--plain button--small", type: "button", click: () => card.remove() }, "Remove")),
    body);
  const fail = (sentence) => body.replaceChildren(el("p", { class: "fault", role: "alert" }, sentence));
  return { card, fail, fill: (said, runs) => body.replaceChildren(...answers(file, said, runs)) };
}

function answers(file, said, runs) {
  const opacity = el("input", { type: "range", min: 0, max: 1, step: 0.05, value: 1, input: () => fade() });
  const fade = () => columns.querySelectorAll(".map img + img").forEach((map) => (map.style.opacity = opacity.value));
  const classes = said.runs[0].task.classes;
  const target = el("select", { change: () => again() },
    el("option", { value: "predicted" }, "the most likely class"), classes.map((each) => el("option", { value: each }, each)));
  const columns = el("div", { class: "columns" });
  const usable = said.runs.filter((run) => !run.images[0].error);
  const same = usable.length > 1 && usable.every((run) => String(run.task.classes) === String(classes));
  const again = () => {
    columns.replaceChildren(...said.runs.map((run) => column(file, run, [target.value, fade], runs.find((each) => each.run === run.run))));
    if (same) columns.append(merged(file, usable, target.value, fade));
  };
  again();
  const stains = el("div", { class: "columns" });
  const controls = el("div", { class: "row controls" },
    el("label", {}, "Heatmap over image ", opacity),
    el("label", {}, "Evidence for ", target),
    el("button", { class: "button button--plain button--small", type: "button", click: (event) => showStains(file, stains, event.target) }, "Show the stains"),
    el("button", { class: "button button--plain button--small", type: "button", click: () => save(file, said) }, "Save the answers"));
  announce(usable.map((run) => `${run.run}: ${run.images[0].answer === "abstain" ? "no answer" : run.images[0].decision}`).join("; ") || "No Run can use this image.");
  return usable.length ? [controls, columns, stains] : [columns];
}

function column(file, run, [target, fade], facts) {
  const said = run.images[0];
  const figure = said.error ? null : map(file, [run.run], target, fade);
  const verdict = el("p", { class: "small quiet" });
  const check = () => el("button", { class: "button button--plain button--small", type: "button", click: (event) => believe(file, run.run, target, verdict, event.target) }, "How far to believe this map?");
  return el("article", { class: "column" },
    el("h3", {}, run.run), el("p", { class: "small quiet" }, protocolOf(run)),
    figure, answerCard(said), said.error || !facts?.scorable ? null : check(), verdict);
}

const protocolOf = (run) => `${run.protocol.name}${run.protocol.leaky ? ": its own figures are inflated by leakage" : ""}`;

function merged(file, usable, target, fade) {
  return el("article", { class: "column" },
    el("h3", {}, "All Runs"), el("p", { class: "small quiet" }, "Their maps merged, weighted by each Run's probability."),
    map(file, usable.map((run) => run.run), target, fade));
}

function map(file, names, target, fade) {
  const caption = el("figcaption", {}, "Finding the evidence ...");
  const stack = el("div", { class: "map" }, el("img", { src: URL.createObjectURL(file), alt: `${file.name || "the image"} as it is` }));
  inTurn(async () => {
    try {
      const said = await ask(`/explain?${named(...names)}&target=${encodeURIComponent(target)}`, form(file));
      stack.replaceChildren(
        el("img", { src: said.original, alt: `${said.name} as it is` }),
        el("img", { src: said.overlay, alt: `where ${said.run} found evidence for ${said.target}` }));
      caption.textContent = `Evidence for ${said.target} (${percent(said.probability)}), ${said.method}. The line encloses the strongest fifth.`;
      fade();
    } catch (fault) {
      caption.textContent = `No map: ${fault.message}`;
    }
  });
  return el("figure", {}, stack, caption);
}

async function believe(file, name, target, verdict, button) {
  button.disabled = true;
  verdict.textContent = "Checking: the image is altered and scored again, some tens of seconds ...";
  await inTurn(async () => {
    try {
      const said = await ask(`/explain?${named(name)}&target=${encodeURIComponent(target)}&score=true`, form(file));
      verdict.textContent = said.verdict ? said.verdict.sentence : "No check was made.";
    } catch (fault) {
      verdict.textContent = fault.message;
    }
  });
  button.disabled = false;
}

async function showStains(file, holder, button) {
  button.disabled = true;
  try {
    const said = await ask("/stains", form(file));
    holder.replaceChildren(...["haematoxylin", "eosin"].map((stain) => el("figure", { class: "column" },
      el("div", { class: "map" }, el("img", { src: said[stain], alt: `${said.name}, ${stain} alone` })),
      el("figcaption", {}, `${stain[0].toUpperCase()}${stain.slice(1)} alone, by Macenko's method`))));
  } catch (fault) {
    button.disabled = false;
    announce(fault.message);
  }
}

function save(file, said) {
  const link = el("a", { href: URL.createObjectURL(new Blob([JSON.stringify(said, null, 2)], { type: "application/json" })), download: `${file.name || "image"}.json` });
  link.click();
  URL.revokeObjectURL(link.href);
}

chooser.addEventListener("change", () => { take([...chooser.files]); chooser.value = ""; });
drop.addEventListener("submit", (event) => event.preventDefault());
document.addEventListener("dragover", (event) => { event.preventDefault(); drop.classList.add("over"); });
document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) drop.classList.remove("over"); });
document.addEventListener("drop", (event) => { event.preventDefault(); drop.classList.remove("over"); take([...event.dataTransfer.files]); });
document.addEventListener("paste", (event) => { const files = [...event.clipboardData.files]; if (files.length) take(files); });
const step = (by) => {
  const all = [...results.querySelectorAll("h2")];
  all[Math.max(0, Math.min(all.length - 1, all.indexOf(document.activeElement) + by))]?.focus();
};
const hidden = () => document.body.classList.toggle("unmapped");
keys({
  h: ["show or hide the heatmaps", hidden],
  o: ["choose images", () => chooser.click()],
  "ArrowDown j": ["next image", () => step(1)],
  "ArrowUp k": ["previous image", () => step(-1)],
  Delete: ["remove the image", () => document.activeElement.closest(".tried")?.remove()],
});
