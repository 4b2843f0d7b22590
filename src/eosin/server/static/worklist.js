// The Worklist: one case at a time, by keyboard or by hand. What is not acknowledged stays here.
import { ask, send, el, announce, keys, answerCard } from "./base.js";

const $ = (id) => document.getElementById(id);
const { classes, words } = JSON.parse($("worklist").dataset.facts);
const API = "/review/api", WAITS = [0, 400, 800, 1600, 3200, 6400], CHUNK = 10; // ms before each attempt
const pictures = new Map(), drafts = new Map();
let asked, cases = [], total = 0, gone = 0, at = 0, view, picture, deciding = false, map = null;
let box = null, corner = null, unsent = [], sending = false, showing = 0;

const setup = $("setup"), form = setup.elements, stage = $("stage");
form.reader.value = localStorage.getItem("eosin.reader") || "";
form.seed.value = crypto.getRandomValues(new Uint32Array(1))[0];
form.blind.addEventListener("change", () => {
  for (const each of form.filter) if (each.value === "flagged") (each.disabled = form.blind.checked) && (each.checked = false);
});
setup.addEventListener("submit", (event) => {
  event.preventDefault();
  const said = new FormData(setup), order = said.get("order"), blind = form.blind.checked;
  asked = { reader: said.get("reader").trim(), order, seed: order === "random" ? said.get("seed") : 0, filters: said.getAll("filter"), label: said.get("label"), blind };
  localStorage.setItem("eosin.reader", asked.reader);
  $("stay").checked = blind;
  begin();
});

/** Try a request again where the server is away or busy, so often and no more. */
async function patiently(work) {
  for (const [turn, wait] of WAITS.entries()) {
    await new Promise((go) => setTimeout(go, wait));
    try {
      const done = await work();
      if (turn) trouble();
      return done;
    } catch (fault) {
      if (![undefined, 429, 503].includes(fault.status) || turn === WAITS.length - 1) throw fault;
      trouble(`${fault.message} Trying again (${turn + 1} of ${WAITS.length - 1}).`);
    }
  }
}

/** What went wrong, with a way on; and every answer that the server did not acknowledge. */
function trouble(sentence, again) {
  $("trouble").replaceChildren(
    ...(sentence ? [el("p", { class: "fault row" }, sentence, again && el("button", { class: "button button--small", click: again }, "Try again"))] : []),
    ...unsent.map((item) => el("p", { class: "fault row" }, `NOT KEPT by the server: ${item.says}. ${item.why}`,
      el("button", { class: "button button--small", click: () => deliver(item) }, "Send again"),
      el("button", { class: "button button--plain button--small", click: () => (forget(item), trouble()) }, "Give up"))));
}
const forget = (item) => (unsent = unsent.filter((each) => each !== item));

async function begin() {
  [cases, total, gone, at] = [[], 0, 0, 0];
  try {
    await more();
  } catch (fault) {
    return trouble(fault.message, begin);
  }
  trouble();
  if (!cases.length) return trouble("No case passes these filters.");
  setup.hidden = true;
  $("desk").hidden = false;
  await go(0);
  $("which").focus();
}

async function more() {
  const { reader, order, seed, filters, label, blind } = asked;
  const query = new URLSearchParams({ reader, order, seed, blind, limit: CHUNK, offset: Math.max(0, cases.length - gone) });
  if (label) query.append("label", label);
  for (const each of filters) query.append("filter", each);
  const page = await patiently(() => ask(`${API}/cases?${query}`)), known = new Set(cases.map(({ id }) => id));
  cases.push(...page.cases.filter(({ id }) => !known.has(id)));
  total = Math.max(total, cases.length, page.total);
  const how = order === "random" ? `at random, seed ${seed}` : "by doubt";
  $("list").textContent = [`${reader}, ${how}${blind ? ", blind" : ""}.`, ...page.notes].join(" ");
}

async function go(to, found = () => true) {
  try {
    for (; ; to += 1) {
      while (to >= cases.length && cases.length < total) {
        const before = cases.length;
        await more();
        if (cases.length === before) total = before;
      }
      if (!cases[to]) return announce(to < 0 ? "This is the first case." : "This is the last case of the list.");
      if (found(cases[to])) break;
    }
  } catch (fault) {
    return trouble(fault.message, () => go(to, found));
  }
  [at, deciding] = [to, false];
  await open();
}

const look = (id) => {
  if (!pictures.has(id)) {
    pictures.set(id, patiently(() => ask(`${API}/cases/${id}/image`)).then(async (response) => {
      const [width, height] = response.headers.get("image-sides").split(" ").map(Number);
      return { url: URL.createObjectURL(await response.blob()), width, height };
    }).catch((fault) => (pictures.delete(id), { fault: fault.message })));
    const [[oldest, made]] = pictures;
    if (pictures.size > 6) made.then(({ url }) => url && URL.revokeObjectURL(url)), pictures.delete(oldest);
  }
  return pictures.get(id);
};

/** Show the case at hand as the server now knows it. */
async function open() {
  const { id } = cases[at], turn = ++showing, query = new URLSearchParams({ reader: asked.reader, blind: asked.blind, adjudicate: deciding });
  $("which").textContent = `Case ${at + 1} of ${total}`;
  try {
    const [said, seen] = await Promise.all([patiently(() => ask(`${API}/cases/${id}?${query}`)), look(id)]);
    if (turn !== showing) return;
    [view, picture, map, box, corner] = [said, seen, null, null, null];
    cases[at].mine = said.mine;
  } catch (fault) {
    return turn === showing && trouble(fault.message, open);
  }
  draw();
  progress();
  if (cases[at + 1]) look(cases[at + 1].id);
}

const draft = () => drafts.get(view.id) || { comment: "", region: null };
const edit = (change) => drafts.set(view.id, { ...draft(), ...change });
const region = (row) => (row.region ? `region ${row.region.map(Math.round).join(", ")}` : "");
const said = (row) => [row.label, row.comment && `“${row.comment}”`, region(row)].filter(Boolean).join("; ");

function draw() {
  const { model, mine, others, readers, comments } = view, own = draft();
  $("which").textContent = `Case ${at + 1} of ${total}${view.name ? ` · ${view.name}, patient ${view.patient}` : ""}`;
  $("image").hidden = Boolean(picture.fault);
  if (!picture.fault) $("image").src = map ? map.overlay : picture.url;
  $("under").className = picture.fault ? "fault" : "small quiet";
  $("under").textContent = picture.fault || (map ? mapWords(map) : `${picture.width} × ${picture.height} pixels`);
  $("map").setAttribute("aria-pressed", Boolean(map));
  $("map").disabled = !model;
  for (const button of $("classes").children) button.setAttribute("aria-pressed", button.dataset.label === mine?.label);
  $("comment").value = own.comment;
  $("unmark").hidden = !own.region && !box;
  $("model").replaceChildren(model ? answerCard(model, words) : el("p", { class: "quiet" }, "Blind: the model's answer is shown after yours."));
  const rest = readers - (mine ? 1 : 0);
  $("others").replaceChildren(
    deciding && el("p", { class: "badge badge--note" }, "Your next answer decides between readers"),
    view.disagreement && el("p", { class: "badge badge--alarm" }, "Readers disagree"),
    view.adjudication && el("p", {}, `Decided by ${view.adjudication.reader}: ${view.adjudication.label}`),
    others === null
      ? el("p", { class: "quiet" }, rest ? `Read by ${rest} other${rest > 1 ? "s" : ""}; shown after your own answer.` : "Nobody else has read it.")
      : el("ul", {}, others.length ? others.map((row) => el("li", {}, `${row.reader}: ${row.label}`)) : el("li", { class: "quiet" }, "Nobody else has read it.")),
    comments.length && el("ul", { class: "small" }, comments.map((row) => el("li", {}, `${row.reader}: ${said(row)}`))));
  $("decide").hidden = readers < 2;
  $("decide").setAttribute("aria-pressed", deciding);
  $("history").replaceChildren(...view.history.map((row) => el("li", {},
    `${row.made.slice(0, 16).replace("T", " ")} UTC, ${row.kind}: `, el(row.undone ? "s" : "span", {}, row.undoes ? "took one back" : said(row)),
    row.undone && " (taken back)", row.blind && row.label && " (blind)")));
  stage.querySelectorAll(".region").forEach((each) => each.remove());
  for (const [one, look] of [...comments.map((row) => [row.region, "old"]), [box || own.region, "own"], [corner && [...corner, 0, 0], "own"]]) place(one, look);
}

const mapWords = ({ target, method, verdict }) =>
  `${method}, evidence for ${target}. ${verdict ? verdict.sentence : "How far to believe this map is not checked: an exported Run cannot."}`;

function place(one, look) {
  if (!one || picture.fault) return;
  const made = el("div", { class: `region region--${look}` }), [x, y, w, h] = one;
  const share = { left: x / picture.width, top: y / picture.height, width: w / picture.width, height: h / picture.height };
  for (const [side, value] of Object.entries(share)) made.style[side] = `${100 * value}%`;
  stage.append(made);
}

/** Send what is said, until it is acknowledged; else keep it here and say so loudly. */
async function deliver(item) {
  if (sending) return announce("What you said last is still on its way.");
  sending = true;
  try {
    const done = await patiently(() => send(item.path, item.body));
    forget(item);
    trouble();
    return await followed(item, done.answer);
  } catch (fault) {
    if (!unsent.includes(item)) unsent.push(item);
    item.why = fault.message;
    trouble();
  } finally {
    sending = false;
  }
}

async function followed(item, row) {
  sending = false;
  announce(`Kept: ${item.says}.`);
  const known = cases.findIndex(({ id }) => id === row.case);
  if (row.kind !== "undo" && row.case !== cases[at].id) return progress(); // sent again later
  if (row.kind === "undo" && known < 0) cases.splice(at, 0, { id: row.case });
  if (row.kind === "undo") [at, deciding, gone] = [known < 0 ? at : known, false, Math.max(0, gone - 1)];
  else if (row.label) gone += 1;
  return row.label && !$("stay").checked && at + 1 < total ? go(at + 1) : ((deciding = false), open());
}

const once = () => Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");

function answer(label) {
  if (!view || view.id !== cases[at].id || sending) return announce("Wait: the case is still on its way.");
  const own = draft(), says = said({ label, ...own }) || "nothing";
  const body = { reader: asked.reader, label, ...own, adjudicate: deciding && label !== null, once: once(), shown: { heatmap: Boolean(map), order: asked.order, seed: Number(asked.seed) } };
  drafts.delete(view.id);
  deliver({ path: `${API}/cases/${view.id}/answers`, body, says: `case ${at + 1}, ${says}` });
}

const undo = () => deliver({ path: `${API}/undo`, body: { reader: asked.reader, once: once() }, says: "the undo of your latest row" });

async function heatmap() {
  if (map) return (map = null), draw();
  if (!view.model) return announce("The model's answer is hidden until you have answered.");
  const { id } = view;
  announce("The heatmap is being drawn.");
  try {
    const made = await patiently(() => ask(`${API}/cases/${id}/heatmap?${new URLSearchParams({ reader: asked.reader })}`));
    if (view.id === id) (map = made), draw(), announce(mapWords(map));
  } catch (fault) {
    announce(`No heatmap: ${fault.message}`);
  }
}

function decide() {
  if (view.readers < 2) return announce("There is nothing to decide: two readers have not answered.");
  deciding = !deciding;
  open();
}

// A region: a rectangle in pixels of the image, without dragging.
function mark() {
  if (picture.fault) return;
  const { width, height } = picture;
  [box, corner] = [draft().region || [width / 4, height / 4, width / 2, height / 2].map(Math.round), null];
  draw();
  stage.focus();
  announce("Arrows move the region, with Shift they size it; Enter keeps it, Escape drops it.");
}

function keep(one) {
  [box, corner] = [null, null];
  edit({ region: one });
  draw();
  announce(one ? `The ${region({ region: one })} goes with your next answer.` : "The region is dropped.");
}

stage.addEventListener("keydown", (event) => {
  const by = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
  if (event.key === "Escape" && corner) keep(null);
  else if (!box) return;
  else if (event.key === "Enter") keep(box);
  else if (event.key === "Escape") keep(null);
  else if (by) {
    const { width, height } = picture, [x, y, w, h] = box, [dx, dy] = by.map((each) => each * Math.max(1, Math.round(width / 50)));
    const between = (low, value, high) => Math.min(Math.max(low, value), high);
    box = event.shiftKey
      ? [x, y, between(1, w + dx, width - x), between(1, h + dy, height - y)]
      : [between(0, x + dx, width - w), between(0, y + dy, height - h), w, h];
    draw();
    announce(region({ region: box }));
  } else return;
  event.preventDefault();
  event.stopPropagation();
});

$("image").addEventListener("click", (event) => {
  const seen = event.target.getBoundingClientRect();
  const x = Math.round((event.clientX - seen.left) / seen.width * picture.width), y = Math.round((event.clientY - seen.top) / seen.height * picture.height);
  if (!corner) return (corner = [x, y]), (box = null), draw(), announce("One corner is set; click the opposite one.");
  keep([Math.min(x, corner[0]), Math.min(y, corner[1]), Math.abs(x - corner[0]) || 1, Math.abs(y - corner[1]) || 1]);
});

async function progress() {
  const found = await ask(`${API}/progress?${new URLSearchParams({ reader: asked.reader })}`).catch(() => null);
  if (!found) return;
  [$("bar").max, $("bar").value] = [found.cases, found.mine];
  $("counts").textContent = `You have answered ${found.mine} of ${found.cases}; by one reader or more ${found.answered}, by two ${found.twice}; ${found.disagreements} in dispute, ${found.adjudicated} decided, ${found.commented} with a comment.`;
  if ($("agreement").open) agreement();
}

async function agreement() {
  const found = await ask(`${API}/agreement`).catch((fault) => ({ fault: fault.message })), share = (value) => (value == null ? "–" : value.toFixed(2));
  const titles = found.pairs?.[0]?.figures.map(({ name }) => name);
  $("pairs").replaceChildren(!titles ? el("p", { class: "quiet" }, found.fault || "No two readers have answered the same case yet.") :
    el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Agreement of readers" }, el("table", {},
      el("thead", {}, el("tr", {}, ["Readers", "Cases", ...titles].map((title) => el("th", { scope: "col" }, title)))),
      el("tbody", {}, found.pairs.map((pair) => el("tr", {}, el("th", { scope: "row" }, pair.readers.join(" and ")), el("td", {}, pair.cases),
        pair.figures.map((each) => el("td", {}, `${share(each.value)} (${each.low == null ? each.note : `${share(each.low)} to ${share(each.high)}`})`))))))),
    ...new Set(found.pairs?.flatMap(({ notes }) => notes).map((note) => note)));
}

const hand = { previous: () => go(at - 1), next: () => go(at + 1), skip: () => go(at + 1, (each) => !each.mine), undo, map: heatmap, mark, unmark: () => keep(null), decide, save: () => answer(null) };
const help = keys(Object.fromEntries(Object.entries({
  ...Object.fromEntries(classes.slice(0, 9).map((name, index) => [index + 1, [`Answer: ${name}`, () => answer(name)]])),
  "n ArrowRight": ["Next case", hand.next], "p ArrowLeft": ["Previous case", hand.previous], s: ["Skip to the next that you have not answered", hand.skip],
  u: ["Undo your latest row", undo], c: ["Comment; Enter keeps it, Escape drops it", () => $("comment").focus()],
  r: ["Region; arrows move it, Shift and arrows size it, Enter keeps it, Escape drops it", mark],
  h: ["Heatmap, on and off", heatmap], a: ["Decide between readers", decide],
}).map(([names, [does, act]]) => [names, [does, () => $("desk").hidden || act()]])));
for (const [id, act] of Object.entries(hand)) $(id).addEventListener("click", act);
for (const button of $("classes").children) button.addEventListener("click", () => answer(button.dataset.label));
$("help").addEventListener("click", help);
$("change").addEventListener("click", () => ([setup.hidden, $("desk").hidden] = [false, true]));
$("agreement").addEventListener("toggle", agreement);
$("comment").addEventListener("input", () => edit({ comment: $("comment").value }));
$("comment").addEventListener("keydown", (event) => {
  if (event.key === "Escape") edit({ comment: ($("comment").value = "") });
  if (event.key !== "Escape" && (event.key !== "Enter" || event.shiftKey)) return;
  event.preventDefault();
  $("which").focus();
});
addEventListener("beforeunload", (event) => { if (sending || unsent.length || [...drafts.values()].some((each) => each.comment || each.region)) event.preventDefault(); });
