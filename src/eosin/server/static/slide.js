// The page of a slide: the view, its layers, and the tile that somebody looks at.
import { announce, answerCard, ask, el, keys, percent } from "./base.js";

const at = (id) => document.getElementById(id);
const root = `/slides/${at("slide").dataset.id}`;
const facts = await ask(`${root}/facts`).catch((fault) => { at("facts").textContent = fault.message; throw fault; });
const POWERS = [2.5, 5, 10, 20, 40]; // 10 is 1 um/px
let layer, tile; // that are shown

const getTileUrl = (level, x, y) => `${root}/dzi/${level}/${x}_${y}.jpg`;
const viewer = OpenSeadragon({
  element: at("view"),
  tileSources: { width: facts.width, height: facts.height, tileSize: 256, minLevel: 8, getTileUrl },
  drawer: "canvas", imageLoaderLimit: 6, showNavigationControl: false, visibilityRatio: 0.3, maxZoomPixelRatio: 8,
  animationTime: matchMedia("(prefers-reduced-motion: reduce)").matches ? 0 : 0.5,
  gestureSettingsMouse: { clickToZoom: false, dblClickToZoom: false },
});
const port = viewer.viewport;
Object.assign(viewer.canvas, { role: "application", ariaLabel: "The slide. Arrows move it, Enter looks at its centre, ? lists all keys." });
viewer.addHandler("canvas-key", (event) => (event.preventDefaultAction = true));
viewer.addHandler("canvas-click", (event) => event.quick && look(port.viewerElementToImageCoordinates(event.position)));
viewer.addHandler("update-viewport", draw);

const zoom = () => port.viewportToImageZoom(port.getZoom(true)); // screen pixels a pixel of level 0
const centre = () => port.viewportToImageCoordinates(port.getCenter());

function lay(element, { x, y, width, height }) { // exactly on the slide; pixels of level 0
  const corner = port.imageToViewerElementCoordinates(new OpenSeadragon.Point(x, y));
  const sides = { left: corner.x, top: corner.y, width: width * zoom(), height: height * zoom() };
  for (const [name, value] of Object.entries(sides)) element.style[name] = `${value}px`;
}

function draw() {
  if (!viewer.world.getItemCount()) return;
  if (tile) lay(at("box"), { ...tile, height: tile.width });
  if (layer) lay(at("map"), { x: 0, y: 0, ...layer });
  if (!facts.mpp) return;
  const um = facts.mpp / zoom(); // a screen pixel
  const digit = 10 ** Math.floor(Math.log10(160 * um));
  const length = digit * [5, 2, 1].find((each) => each * digit <= 160 * um);
  at("scale").style.width = `${length / um}px`;
  at("scale").textContent = length >= 1000 ? `${length / 1000} mm` : `${+length.toPrecision(1)} µm`;
  at("now").textContent = `now ${+(10 / um).toPrecision(2)}x`;
}

const move = (across, down) => (event) => {
  const { width, height } = port.getBounds();
  const one = event.shiftKey && tile && tile.width / facts.width;
  port.panBy(new OpenSeadragon.Point(across * (one || width / 5), down * (one || height / 5))).applyConstraints();
};
const closer = (factor) => () => port.zoomBy(factor).applyConstraints();
const magnify = (power) => () => {
  if (facts.mpp) port.zoomTo(port.imageToViewportZoom((facts.mpp * power) / 10));
  announce(facts.fault || `${power}x`);
};

function choose(name) {
  layer = facts.layers.find((each) => each.name === name);
  at("layer").value = name;
  at("map").hidden = at("legend").hidden = !layer;
  announce(`Layer: ${layer ? layer.title : "none"}`);
  if (!layer) return;
  at("map").src = `${root}/layers/${name}.png`;
  at("ramp").style.background = `linear-gradient(90deg, ${layer.colours})`;
  at("high").textContent = +layer.high.toPrecision(2);
  draw();
}
const next = () => choose(["", ...facts.layers.map((each) => each.name), ""][at("layer").selectedIndex + 1]);
const fade = (change) => () => {
  at("opacity").value = Number(at("opacity").value) + change;
  at("map").style.opacity = at("opacity").value;
};

const asked = (verb, { x, y }) =>
  ask(`${root}/${verb}?${new URLSearchParams({ x, y, run: at("run").value })}`, { method: "POST", again: 30 });

async function look(point) {
  announce("Looking at the tile ...");
  const found = await asked("look", point).catch((fault) => announce(fault.message));
  if (!found) return;
  tile = found;
  at("box").hidden = false;
  at("box").style.backgroundImage = "";
  draw();
  const cells = found.stored.map((chances, index) => {
    const name = chances && (facts.positive || Object.keys(chances).reduce((a, b) => (chances[a] < chances[b] ? b : a)));
    const said = chances ? `${name} ${percent(chances[name])}` : "not scored";
    return el("button", { "aria-label": `Tile ${index + 1} of 9: ${said}`, click: () => look(found.middles[index]) },
      el("span", {}, chances ? percent(chances[name]) : "–"));
  });
  const around = el("div", { class: "around" }, cells);
  around.style.backgroundImage = `url(${found.around})`;
  at("tile").replaceChildren(el("h2", {}, `Tile at ${found.x}, ${found.y}`),
    el("div", { class: "row" }, el("img", { id: "picture", src: found.picture, alt: "The tile that was scored" }),
      el("button", { class: "button button--small button--plain", click: explain }, "Explain")),
    el("p", { class: "small quiet", id: "why" }), answerCard(found.image),
    el("h3", {}, `Around it${facts.positive ? `, stored probability of ${facts.positive}` : ""}`), around);
  announce(found.image.error || (found.image.answer === "abstain" ? "No answer" : found.image.decision));
}

async function explain() {
  const mine = tile;
  announce(mine ? "Explaining ..." : "Look at a tile first.");
  const said = mine && (await asked("explain", mine.middles[4]).catch((fault) => announce(`No map: ${fault.message}`)));
  if (!said || mine !== tile) return;
  at("why").textContent = `Evidence for ${said.target} by ${said.method}; the line encloses the strongest fifth.`;
  announce(at("why").textContent);
  at("picture").src = said.overlay;
  at("box").style.backgroundImage = `url(${said.overlay})`;
}

const scan = [`${facts.width} x ${facts.height} px`, facts.mpp && `${+facts.mpp.toPrecision(4)} µm/px`, facts.objective && `objective ${facts.objective}x`];
at("facts").textContent = `${scan.filter(Boolean).join(", ")}${facts.fault && `; ${facts.fault}`}`;
at("said-before").append(...facts.said.map((each) => el("p", { class: "small" }, each)));
at("power").prepend(...POWERS.map((power) => el("button", { click: magnify(power) }, `${power}x`)));
at("power").hidden = at("scale").hidden = !facts.mpp;
at("layers").hidden = !facts.layers.length;
at("layer").append(...facts.layers.map((each) => el("option", { value: each.name }, each.title)));
at("layer").addEventListener("change", (event) => choose(event.target.value));
at("opacity").addEventListener("input", fade(0));
at("opacity").addEventListener("keydown", (event) => event.key.startsWith("Arrow") && event.stopPropagation());
fade(0)();
at("look").addEventListener("click", () => look(centre()));
at("help").addEventListener("click", keys({
  ArrowLeft: ["move left; with Shift by a tile", move(-1, 0)], ArrowRight: ["right", move(1, 0)],
  ArrowUp: ["up", move(0, -1)], ArrowDown: ["down", move(0, 1)],
  "+ =": ["closer", closer(1.5)], "-": ["farther", closer(1 / 1.5)], 0: ["all of the slide", () => port.goHome()],
  ...Object.fromEntries(POWERS.map((power, index) => [index + 1, [`${power}x`, magnify(power)]])),
  "l L": ["next layer", next], "[": ["fainter", fade(-0.1)], "]": ["stronger", fade(0.1)],
  Enter: ["look at the tile in the centre", () => look(centre())], "e E": ["explain it", explain],
}));
