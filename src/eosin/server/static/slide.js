// The page of a slide: the view, its layers, and the tile that somebody looks at.
import { announce, answerCard, ask, el, keys, percent } from "./base.js";

const at = (id) => document.getElementById(id);
const root = `/slides/${at("slide").dataset.id}`;
const POWERS = [2.5, 5, 10, 20, 40]; // 10 is 1 um/px
const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
const facts = await ask(`${root}/facts`).catch((fault) => {
  at("facts").replaceWith(el("p", { class: "fault" }, fault.message));
  throw fault;
});
const box = { x: 0, y: 0, width: 0, height: 0 }; // of the tile, pixels of level 0
let layer = null, looked = null;

const viewer = OpenSeadragon({
  element: at("view"),
  drawer: "canvas",
  tileSources: {
    width: facts.width, height: facts.height, tileSize: facts.tile, tileOverlap: 0,
    minLevel: facts.levels[0], maxLevel: facts.levels[1],
    getTileUrl: (level, x, y) => `${root}/dzi/${level}/${x}_${y}.jpg`,
  },
  showNavigationControl: false,
  animationTime: still ? 0 : 0.5,
  visibilityRatio: 0.3,
  maxZoomPixelRatio: 8,
  imageLoaderLimit: 6,
  gestureSettingsMouse: { clickToZoom: false, dblClickToZoom: false },
});
const port = viewer.viewport;
viewer.addHandler("canvas-key", (event) => { event.preventDefaultAction = true; });
viewer.addHandler("canvas-click", (event) => {
  if (event.quick) look(port.viewerElementToImageCoordinates(event.position));
});
viewer.addHandler("update-viewport", draw);
viewer.addHandler("open-failed", () => announce("The slide cannot be shown."));

// The view: where things lie on the screen, how large a um is there.
const zoom = () => port.viewportToImageZoom(port.getZoom(true)); // screen pixels a pixel of level 0
const centre = () => port.viewportToImageCoordinates(port.getCenter());
const tenfold = (power) => (facts.mpp * power) / 10;

function lay(element, { x, y, width, height }) {
  const corner = port.imageToViewerElementCoordinates(new OpenSeadragon.Point(x, y));
  const sides = { left: corner.x, top: corner.y, width: width * zoom(), height: height * zoom() };
  for (const [name, value] of Object.entries(sides)) element.style[name] = `${value}px`;
}

function draw() {
  if (!viewer.world.getItemCount()) return;
  lay(at("box"), box);
  if (layer) lay(at("map"), { x: 0, y: 0, width: layer.width, height: layer.height });
  if (!facts.mpp) return;
  const um = facts.mpp / zoom(); // a screen pixel
  const digit = 10 ** Math.floor(Math.log10(160 * um));
  const length = [5, 2, 1].map((each) => each * digit).find((each) => each <= 160 * um);
  at("scale").style.width = `${length / um}px`;
  at("scale").textContent = length >= 1000 ? `${length / 1000} mm` : `${+length.toPrecision(1)} µm`;
  at("now").textContent = `${+(10 / um).toPrecision(2)}x`;
}

const pan = (across, down) => (event) => {
  const bounds = port.getBounds();
  const step = event.shiftKey && box.width ? box.width / facts.width : 0; // Shift: one tile
  port.panBy(new OpenSeadragon.Point(across * (step || bounds.width / 5), down * (step || bounds.height / 5)));
  port.applyConstraints();
};
const zoomBy = (factor) => () => { port.zoomBy(factor); port.applyConstraints(); };
const magnify = (power) => () => {
  if (!facts.mpp) return announce("The slide states no um/px, so no magnification is known.");
  port.zoomTo(port.imageToViewportZoom(tenfold(power)));
  announce(`${power}x`);
};

// Layers.
function choose(name) {
  layer = facts.layers.find((each) => each.name === name) || null;
  at("layer").value = name;
  at("map").hidden = at("legend").hidden = !layer;
  if (layer) {
    at("map").src = `${root}/layers/${name}.png`;
    at("ramp").style.background = `linear-gradient(90deg, ${layer.colours})`;
    at("high").textContent = +layer.high.toPrecision(2);
  }
  draw();
}
function fade(change = 0) {
  at("opacity").value = Number(at("opacity").value) + change;
  at("map").style.opacity = at("opacity").value;
}
function next() {
  const names = ["", ...facts.layers.map((each) => each.name)];
  choose(names[(names.indexOf(at("layer").value) + 1) % names.length]);
  announce(`Layer: ${layer ? layer.title : "none"}`);
}

// The tile.
const asked = (verb, { x, y }) => {
  const wanted = new URLSearchParams({ x, y });
  if (at("run")) wanted.set("run", at("run").value);
  return ask(`${root}/${verb}?${wanted}`, { method: "POST" });
};
async function look(point) {
  if (point.x < 0 || point.y < 0 || point.x >= facts.width || point.y >= facts.height) return announce("This is beyond the slide.");
  announce("Looking at the tile ...");
  const found = await asked("look", point).catch((fault) => ({ fault: fault.message }));
  if (found.fault) return at("tile").replaceChildren(el("p", { class: "fault" }, found.fault));
  looked = { ...found, explained: null };
  Object.assign(box, { x: found.x, y: found.y, width: found.width, height: found.width });
  at("box").hidden = false;
  at("box").style.backgroundImage = "";
  draw();
  const of = facts.positive;
  const cells = found.stored.map((chances, index) => {
    const name = chances && (of || Object.keys(chances).reduce((a, b) => (chances[a] >= chances[b] ? a : b)));
    const said = chances ? percent(chances[name]) : "not scored";
    const [x, y] = found.centres[index];
    return el("button", { "aria-label": `Tile ${index + 1} of 9: ${chances ? `${name} ` : ""}${said}`, click: () => look({ x, y }) },
      el("span", {}, chances ? said : "–"));
  });
  const around = el("div", { class: "around" }, cells);
  around.style.backgroundImage = `url(${found.around})`;
  at("tile").replaceChildren(
    el("h2", {}, `Tile at ${found.x}, ${found.y}`),
    el("img", { id: "picture", src: found.picture, alt: "The tile that was scored", width: 224, height: 224 }),
    el("button", { class: "button button--small button--plain", click: explain }, "Explain"),
    el("p", { class: "small quiet", id: "why" }),
    answerCard(found.image),
    el("h3", {}, `Around it${of ? `: stored probability of ${of}` : ""}`), around);
  announce(found.image.error || `${found.image.answer === "abstain" ? "No answer, most likely " : ""}${found.image.decision}`);
}
async function explain() {
  if (!looked) return announce("Look at a tile first.");
  const mine = looked;
  announce("Explaining ...");
  const middle = { x: mine.centres[4][0], y: mine.centres[4][1] };
  mine.explained ??= await asked("explain", middle).catch((fault) => ({ fault: fault.message }));
  if (mine !== looked) return;
  const { fault, overlay, target, method } = mine.explained;
  at("why").textContent = fault || `Evidence for ${target} by ${method}; the line encloses the strongest fifth.`;
  announce(at("why").textContent);
  if (fault) return;
  at("picture").src = overlay;
  at("box").style.backgroundImage = `url(${overlay})`;
}

// The page.
at("power").append(...POWERS.map((power) => el("button", { click: magnify(power), disabled: !facts.mpp }, `${power}x`)), el("span", { id: "now", "aria-label": "Magnification now" }));
at("facts").textContent = [`${facts.width} x ${facts.height} px`, facts.mpp ? `${+facts.mpp.toPrecision(4)} µm/px` : facts.fault, facts.objective && `objective ${facts.objective}x`].filter(Boolean).join(", ");
at("facts").after(...[facts.answer, ...(facts.notes || [])].filter(Boolean).map((each) => el("p", { class: "small" }, each)));
at("scale").hidden = !facts.mpp;
at("layers").hidden = !facts.layers.length;
at("layer").append(...facts.layers.map((each) => el("option", { value: each.name }, each.title)));
at("layer").addEventListener("change", (event) => choose(event.target.value));
at("opacity").addEventListener("input", () => fade());
at("opacity").addEventListener("keydown", (event) => event.key.startsWith("Arrow") && event.stopPropagation());
at("look").addEventListener("click", () => look(centre()));
fade();
at("help").addEventListener("click", keys({
  ArrowLeft: ["move; with Shift by a tile", pan(-1, 0)], ArrowRight: ["the same", pan(1, 0)],
  ArrowUp: ["the same", pan(0, -1)], ArrowDown: ["the same", pan(0, 1)],
  "+ =": ["closer", zoomBy(1.5)], "-": ["farther", zoomBy(1 / 1.5)], 0: ["all of the slide", () => port.goHome()],
  ...Object.fromEntries(POWERS.map((power, index) => [index + 1, [`${power}x`, magnify(power)]])),
  "l L": ["next layer", next], "[": ["fainter layer", () => fade(-0.1)], "]": ["stronger layer", () => fade(0.1)],
  Enter: ["look at the tile in the centre", () => look(centre())], "e E": ["explain that tile", explain],
}));
