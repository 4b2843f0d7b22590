// The Worklist: one case at a time, by keyboard or by hand. What is not acknowledged stays here.
import { ask, send, el, announce, keys, answerCard } from "./base.js";

const $ = (id) => document.getElementById(id);
const API = "/review/api", CHUNK = 10, WAITS = [0, 400, 800, 1600, 3200, 6400]; // ms before each attempt
const setup = $("setup"), stage = $("stage"), pictures = new Map(), drafts = new Map();
let asked, reader, cases, at, total, ended, gone; // the list: how it was asked for, and where we are
let view, picture, map, deciding, turn = 0; // the case at hand
let box = null, corner = null; // a region that is being drawn
let sending = false, loading = 0, unsent = [];

setup.reader.value = localStorage.getItem("eosin.reader") || "";
setup.seed.value = crypto.getRandomValues(new Uint32Array(1))[0] >>> 1; // below 2^31
setup.addEventListener("submit", (event) => {
  event.preventDefault();
  setup.reader.value = setup.reader.value.trim();
  if (reader !== setup.reader.value) drafts.clear(); // they are of another reader
  [asked, reader] = [new URLSearchParams(new FormData(setup)), setup.reader.value];
  if (!asked.get("label")) asked.delete("label");
  localStorage.setItem("eosin.reader", reader);
  $("stay").checked = asked.has("blind");
  begin();
});

/** What is wrong, with a way on; and every answer that the server has not acknowledged. */
function trouble(sentence, again) {
  const button = (text, click) => el("button", { class: "button button--small", type: "button", click }, text);
  $("trouble").replaceChildren(...[sentence && el("p", { class: "fault row" }, sentence, again && button("Try again", again)), ...unsent.map((item) =>
    el("p", { class: "fault row" }, `NOT KEPT by the server: ${item.says}. ${item.why}`, button("Send again", () => deliver(item)), button("Drop it", () => forget(item))))].filter(Boolean));
}
const forget = (item) => ((unsent = unsent.filter((each) => each !== item)), trouble());

/** Ask again where the server is away or busy: so often and no more. */
async function patiently(work) {
  for (const [tries, wait] of WAITS.entries()) {
    await new Promise((done) => setTimeout(done, wait));
    try {
      const found = await work();
      if (tries) trouble();
      return found;
    } catch (fault) {
      if (![undefined, 429, 503].includes(fault.status) || tries === WAITS.length - 1) throw fault;
      trouble(`${fault.message} Trying again, ${tries + 1} of ${WAITS.length - 1}.`);
    }
  }
}

/** Bring another case; where that fails, say so and offer to do it again. Nothing is answered meanwhile. */
async function tried(work) {
  loading += 1;
  await work().catch((fault) => trouble(fault.message, () => (trouble(), tried(work))));
  loading -= 1;
}

const begin = () => tried(async () => {
  [cases, total, gone] = [[], 0, 0];
  await more();
  trouble(cases.length ? "" : "No case passes these filters.");
  if (!cases.length) return;
  [setup.hidden, $("desk").hidden] = [true, false];
  $("which").focus(); // now: later it would take the focus from who types already
  await open(0);
});

async function more() {
  for (let offset = Math.max(0, cases.length - gone); ; offset += CHUNK) {
    const page = await patiently(() => ask(`${API}/cases?${asked}&offset=${offset}&limit=${CHUNK}`));
    const fresh = page.cases.filter(({ id }) => !cases.some((each) => each.id === id));
    cases.push(...fresh);
    [total, ended] = [Math.max(total, page.total, cases.length), offset + CHUNK >= page.total];
    $("list").textContent = [`${reader}, ${page.order === "random" ? `at random with the seed ${page.seed}` : "by doubt"}${page.blind ? ", blind" : ""}.`, ...page.notes].join(" ");
    if (fresh.length || ended) return;
  }
}

/** Go to the first case from there on that is wanted. */
const go = (to, wanted = () => true) => tried(async () => {
  for (; ; to += 1) {
    while (to >= cases.length && !ended) await more();
    if (!cases[to]) return announce(to < 0 ? "This is the first case." : "This is the last case of the list.");
    if (wanted(cases[to])) return open(to);
  }
});

function look(id) {
  if (!pictures.has(id)) pictures.set(id, patiently(() => ask(`${API}/cases/${id}/image`)).then(async (response) => {
    const [width, height] = response.headers.get("image-sides").split(" ").map(Number);
    return { url: URL.createObjectURL(await response.blob()), width, height };
  }).catch((fault) => (pictures.delete(id), { fault: fault.message, width: 1, height: 1 })));
  return pictures.get(id);
}

/** Show a case as the server now knows it; the one asked for last wins. */
async function open(to, decide = false) {
  const { id } = cases[to], own = (turn += 1), query = new URLSearchParams({ reader, blind: asked.has("blind"), adjudicate: decide });
  const [said, seen] = await Promise.all([patiently(() => ask(`${API}/cases/${id}?${query}`)), look(id)]);
  if (own !== turn) return;
  [at, view, picture, deciding, map, box, corner] = [to, said, seen, decide, null, null, null];
  cases[at].mine = said.mine;
  draw();
  const kept = [id, cases[at + 1]?.id, cases[at - 1]?.id];
  if (kept[1]) look(kept[1]);
  for (const [key, made] of pictures) if (!kept.includes(key)) made.then(({ url }) => URL.revokeObjectURL(url)), pictures.delete(key);
  progress();
}

const draft = () => drafts.get(view.id) || { comment: "", region: null };
const edit = (change) => drafts.set(view.id, { ...draft(), ...change });
const named = (region) => region && `region ${region.map(Math.round).join(", ")}`;
const words = (row) => [row.label, row.comment && `“${row.comment}”`, named(row.region)].filter(Boolean).join("; ");

function draw() {
  const { model, mine, comments, readers } = view, own = draft(), { width, height, fault } = picture;
  $("which").textContent = `Case ${at + 1} of ${total}`;
  stage.hidden = Boolean(fault);
  stage.style.width = `min(100%, ${(74 * width) / height}vh)`;
  $("image").src = fault ? "" : map ? map.overlay : picture.url;
  $("under").className = fault ? "fault" : "small quiet";
  $("under").textContent = fault || (map ? mapWords(map) : `${view.name ? `${view.name}, patient ${view.patient}, ` : ""}${width} × ${height} pixels`);
  for (const [id, on] of [["map", map], ["decide", deciding]]) $(id).setAttribute("aria-pressed", Boolean(on));
  for (const button of $("classes").children) button.setAttribute("aria-pressed", button.value === mine?.label);
  [$("map").disabled, $("unmark").hidden, $("decide").hidden] = [!model, !own.region && !box, readers < 2];
  if ($("comment").value !== own.comment) $("comment").value = own.comment;
  $("model").replaceChildren(model ? answerCard(model) : el("p", { class: "quiet" }, "Blind: the model's answer is shown after yours."));
  $("others").replaceChildren(el("div", { class: "stack" }, othersOf(view), comments.length > 0 && el("ul", { class: "small" }, comments.map((row) => el("li", {}, `${row.reader}: ${words(row)}`))),
    view.history.length > 0 && [el("h2", {}, "Your own rows"), el("ol", { class: "small" }, view.history.map((row) => el("li", {}, `${row.made.slice(0, 16).replace("T", " ")} UTC, ${row.kind}`,
      !row.undoes && [": ", el(row.undone ? "s" : "span", {}, words(row))], row.undone && " (taken back)", row.label && row.blind && " (blind)")))]));
  stage.querySelectorAll(".region").forEach((each) => each.remove());
  const regions = [...[mine, ...comments].map((row) => [row?.region, "old"]), [box || own.region, "own"], [corner && [...corner, 0, 0], "own"]];
  for (const [region, kind] of regions.filter(([each]) => each)) {
    const drawn = el("div", { class: `region region--${kind}` });
    ["left", "top", "width", "height"].forEach((side, index) => (drawn.style[side] = `${(100 * region[index]) / (index % 2 ? height : width)}%`));
    stage.append(drawn);
  }
}

function othersOf({ others, mine, readers, disagreement, adjudication }) {
  const count = readers - (mine ? 1 : 0);
  return [deciding && el("p", { class: "badge badge--note" }, "Your next answer decides between readers"), disagreement && el("p", { class: "badge badge--alarm" }, "Readers disagree"),
    adjudication && el("p", {}, `Decided by ${adjudication.reader}: ${adjudication.label}`),
    !count ? el("p", { class: "quiet" }, "Nobody else has read it.")
      : others ? others.map((row) => el("p", {}, `${row.reader}: ${row.label}`)) : el("p", { class: "quiet" }, `Read by ${count} other${count > 1 ? "s" : ""}; shown after your own answer.`)];
}

const mapWords = ({ target, method, verdict }) => `${method}, evidence for ${target}. ${verdict ? verdict.sentence : "How far to believe it is not checked: that takes the Run with its weights, and this one is an export."}`;

/** Send until it is acknowledged; else keep it here and say so. The server keeps once what comes twice. */
async function deliver(item) {
  if (sending) return announce("What you said last is still on its way.");
  sending = true;
  const sent = await patiently(() => send(item.path, item.body)).catch((fault) => ({ fault }));
  sending = false;
  unsent = unsent.filter((each) => each !== item);
  if (sent.fault) unsent.push({ ...item, why: sent.fault.message });
  trouble();
  if (sent.fault) return;
  const { kind, label, case: id } = sent.answer, known = cases.findIndex((each) => each.id === id);
  announce(`Kept: ${item.says}.`);
  gone = Math.max(0, gone + (kind === "undo" ? -1 : label ? 1 : 0));
  if (kind === "undo" && known < 0) cases.splice(at, 0, { id });
  if (kind === "undo") return tried(() => open(known < 0 ? at : known));
  if (id !== cases[at].id) return progress(); // sent again later, from another case
  return label && !$("stay").checked && (at + 1 < cases.length || !ended) ? go(at + 1) : tried(() => open(at));
}

const once = () => Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");

function answer(label) {
  if (sending || loading) return announce("Wait until the case is shown.");
  const own = draft(), body = { reader, label, ...own, adjudicate: deciding && label !== null, once: once(), shown: { heatmap: Boolean(map) } };
  drafts.delete(view.id);
  return deliver({ path: `${API}/cases/${view.id}/answers`, body, says: `case ${at + 1}: ${words({ label, ...own }) || "nothing"}` });
}

const undo = () => deliver({ path: `${API}/undo`, body: { reader, once: once() }, says: "your latest row is taken back" });

async function heatmap() {
  const { id } = view, show = (made) => ((map = made), draw());
  if (map) return show(null);
  if (!view.model) return announce("The model's answer is hidden until you have answered.");
  announce("The heatmap is being drawn.");
  await patiently(() => ask(`${API}/cases/${id}/heatmap?${new URLSearchParams({ reader })}`))
    .then((made) => view.id === id && show(made), (fault) => announce(`No heatmap: ${fault.message}`));
}

const decide = () => (view.readers < 2 ? announce("Two readers have not answered it: there is nothing to decide.") : tried(() => open(at, !deciding)));

// A region is a rectangle in pixels of the image; keys move and size it, or two clicks set its corners.
function mark() {
  const { width, height } = picture;
  [box, corner] = [draft().region || [width / 4, height / 4, width / 2, height / 2].map(Math.round), null];
  draw();
  stage.focus();
  announce("Arrows move the region, Shift and arrows size it, Enter keeps it, Escape drops it.");
}

function keep(region) {
  [box, corner] = [null, null];
  edit({ region });
  draw();
  announce(region ? `The ${named(region)} goes with your next answer.` : "The region is dropped.");
}

function move({ key, shiftKey }) {
  const by = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[key];
  if (!by) return false;
  const { width, height } = picture, [x, y, w, h] = box, [dx, dy] = by.map((each) => each * Math.max(1, Math.round(width / 50)));
  const within = (low, value, high) => Math.min(Math.max(low, value), high);
  box = shiftKey ? [x, y, within(1, w + dx, width - x), within(1, h + dy, height - y)] : [within(0, x + dx, width - w), within(0, y + dy, height - h), w, h];
  draw();
  announce(named(box));
  return true;
}

stage.addEventListener("keydown", (event) => {
  if (!box && !(corner && event.key === "Escape")) return;
  if (event.key === "Enter") keep(box);
  else if (event.key === "Escape") keep(null);
  else if (!move(event)) return;
  event.preventDefault();
  event.stopPropagation();
});

stage.addEventListener("click", (event) => {
  const { left, top, width, height } = stage.getBoundingClientRect();
  const x = Math.round(((event.clientX - left) / width) * picture.width), y = Math.round(((event.clientY - top) / height) * picture.height);
  if (corner) return keep([Math.min(x, corner[0]), Math.min(y, corner[1]), Math.abs(x - corner[0]) || 1, Math.abs(y - corner[1]) || 1]);
  [corner, box] = [[x, y], null];
  draw();
  announce("One corner is set; click the opposite one.");
});

async function progress() {
  const found = await ask(`${API}/progress?${new URLSearchParams({ reader })}`).catch(() => null);
  if (!found) return;
  [$("bar").max, $("bar").value] = [found.cases, found.mine];
  $("counts").textContent = `You have answered ${found.mine} of ${found.cases}. Read at all: ${found.answered}, by two: ${found.twice}, in dispute: ${found.disagreements}, decided: ${found.adjudicated}, with a comment: ${found.commented}.`;
  if ($("agreement").open) agreement();
}

async function agreement() {
  const { pairs = [], fault = "No two readers have answered the same case yet." } = await ask(`${API}/agreement`).catch(({ message }) => ({ fault: message }));
  const share = (value) => (value == null ? "–" : value.toFixed(2)), titles = pairs[0]?.figures.map(({ name }) => name);
  const between = ({ low, high, note }) => (low == null ? note : `${share(low)} to ${share(high)}`);
  $("pairs").replaceChildren(...(!titles ? [fault] : [el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Agreement of readers" }, el("table", {},
    el("thead", {}, el("tr", {}, ["Readers", "Cases", ...titles].map((title) => el("th", { scope: "col" }, title)))),
    el("tbody", {}, pairs.map(({ readers, cases: count, figures }) => el("tr", {}, el("th", { scope: "row" }, readers.join(" and ")), el("td", {}, count),
      figures.map((each) => el("td", {}, `${share(each.value)} (${between(each)})`))))))),
  ...new Set(pairs.flatMap(({ notes }) => notes))].map((each) => (each.tagName ? each : el("p", { class: "small quiet" }, each)))));
}

const hand = { previous: () => go(at - 1), next: () => go(at + 1), skip: () => go(at + 1, ({ mine }) => !mine), undo, map: heatmap, mark, unmark: () => keep(null), decide, save: () => answer(null) };
const buttons = [...$("classes").children], live = (act) => () => $("desk").hidden || act();
const wanted = { ...Object.fromEntries(buttons.slice(0, 9).map(({ value }, index) => [index + 1, [`answer ${value}`, live(() => answer(value))]])),
  "n ArrowRight": ["next case", live(hand.next)], "p ArrowLeft": ["previous case", live(hand.previous)], s: ["skip to the next case without your answer", live(hand.skip)],
  u: ["undo your latest row", live(undo)], c: ["comment; Enter keeps it, Escape drops it", live(() => $("comment").focus())],
  r: ["region; arrows move it, Shift and arrows size it, Enter keeps it, Escape drops it", live(mark)], h: ["heatmap on and off", live(heatmap)], a: ["decide between readers", live(decide)] };
$("help").addEventListener("click", keys(wanted));
for (const [id, act] of Object.entries(hand)) $(id).addEventListener("click", act);
for (const button of buttons) button.addEventListener("click", () => answer(button.value));
$("change").addEventListener("click", () => ([setup.hidden, $("desk").hidden] = [false, true]));
$("agreement").addEventListener("toggle", () => $("agreement").open && agreement());
$("comment").addEventListener("input", () => edit({ comment: $("comment").value }));
$("comment").addEventListener("keydown", (event) => {
  if (event.key === "Escape") edit({ comment: ($("comment").value = "") });
  else if (event.key !== "Enter" || event.shiftKey) return;
  event.preventDefault();
  $("which").focus();
});
addEventListener("beforeunload", (event) => (sending || unsent.length || [...drafts.values()].some(({ comment, region }) => comment || region)) && event.preventDefault());
