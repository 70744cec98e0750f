"use strict";
const element = (id) => document.getElementById(id);
const data = JSON.parse(element("data").textContent);
const viewer = element("viewer"), field = element("field"), pane = element("pane"), pointed = { x: -1, y: -1 };
const OVERLAYS = { ...(data.error && { map: "overlay" }), ...(data.trust && { trust: "outside" }) };  // and their boxes
const LAYERS = ["before", "after", ...Object.keys(OVERLAYS)];
let shown = null, low, high, factor = 1, asked = -1, painting = 0;

/* Whole numbers as `_packed` of viewer.py made them: bytes apart, signs last, differences along rows and columns. */
const unpacked = async (text, columns) => {
  const raw = atob(text), bytes = new Uint8Array(raw.length);
  for (let at = 0; at < raw.length; at++) bytes[at] = raw.charCodeAt(at);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  const planes = new Uint8Array(await new Response(stream).arrayBuffer()), count = planes.length / 4;
  const numbers = new Uint32Array(count);
  for (let at = 0, row = 0; at < count; at++) {
    const folded = planes[at] | planes[at + count] << 8 | planes[at + 2 * count] << 16 | planes[at + 3 * count] << 24;
    row = (at % columns ? row : 0) + ((folded >>> 1) ^ -(folded & 1)) | 0;
    numbers[at] = row + (at < columns ? 0 : numbers[at - columns]);
  }
  return numbers;
};
const decoded = async ({ rows, columns, values, ranks }) => ({
  rows, columns, values: new Float32Array((await unpacked(values, Infinity)).buffer), ranks: await unpacked(ranks, columns),
});

/* The shortest number that is this float32. */
const exact = (value) => {
  for (let digits = 1; digits < 9; digits++) {
    const short = Number(value.toPrecision(digits));
    if (Math.fround(short) === value) return String(short);
  }
  return String(Number(value.toPrecision(9)));
};

const paint = (name, shade) => {
  const { rows, columns, values, ranks } = shown[name], canvas = element(name);
  if (canvas.width !== columns || canvas.height !== rows) [canvas.width, canvas.height] = [columns, rows];
  const shades = Uint32Array.from(values, shade), picture = new ImageData(columns, rows);
  const pixels = new Uint32Array(picture.data.buffer);
  for (let at = 0; at < pixels.length; at++) pixels[at] = shades[ranks[at]];
  canvas.getContext("2d").putImageData(picture, 0, 0);
};
const grey = (value) => {
  const share = Math.min(1, Math.max(0, (value - low) / (high - low)));
  const level = Math.round(255 * (data.inverted ? 1 - share : share));
  return (0xff000000 | level << 16 | level << 8 | level) >>> 0;
};
const orange = (value) => (Math.round(255 * Math.min(1, value / data.top)) << 24 | 0x008cff) >>> 0;
const violet = (value) => value < 0.5 ? 0x90ff3cc8 : 0;
const repaint = () => {
  painting = painting || requestAnimationFrame(() => {
    painting = 0;
    for (const name of ["before", "after"]) paint(name, grey);
  });
};

const setWindow = (from, to) => {
  [low, high] = [from, Math.max(to, from + 1e-6 * (Math.abs(from) || 1))];
  element("width").value = Number((high - low).toPrecision(6));
  element("level").value = Number(((low + high) / 2).toPrecision(6));
  repaint();
};
const readWindow = () => {
  const width = element("width").valueAsNumber, level = element("level").valueAsNumber;
  if (!(width > 0) || !Number.isFinite(level)) return;
  [low, high] = [level - width / 2, level + width / 2];
  repaint();
};

/* Whole screen pixels a pixel where there is room, so that all pixels are squares of one size. */
const layOut = () => {
  if (!shown) return;
  const { rows, columns } = shown.after, aspect = data.spacing ? data.spacing[0] / data.spacing[1] : 1;
  const screen = window.devicePixelRatio || 1, chosen = Number(element("zoom").value);
  const middle = [(pane.scrollLeft + pane.clientWidth / 2) / (pane.scrollWidth || 1),
    (pane.scrollTop + pane.clientHeight / 2) / (pane.scrollHeight || 1)];
  const tallest = Math.max(240, window.innerHeight * 0.72);
  const fitting = Math.min(pane.clientWidth / columns, tallest / (rows * aspect));
  factor = chosen ? chosen / screen : fitting * screen < 1 ? fitting : Math.floor(fitting * screen) / screen;
  field.style.width = `${columns * factor}px`;
  field.style.height = `${rows * aspect * factor}px`;
  pane.style.height = `${Math.min(rows * aspect * factor, tallest)}px`;
  pane.scrollTo(middle[0] * pane.scrollWidth - pane.clientWidth / 2, middle[1] * pane.scrollHeight - pane.clientHeight / 2);
  for (const name of LAYERS) element(name).classList.toggle("squares", field.clientWidth * screen >= shown[name].columns);
  const bar = element("bar");
  bar.hidden = !data.spacing;
  if (data.spacing) {
    const most = Math.min(columns * factor, pane.clientWidth) / 4 * data.spacing[1] / factor;  // mm
    const power = 10 ** Math.floor(Math.log10(most)), length = power * [5, 2, 1].find((step) => step * power <= most);
    bar.style.width = `${length / data.spacing[1] * factor}px`;
    bar.textContent = `${Number(length.toPrecision(1))} mm`;
  }
};

const readOut = () => {
  const { rows, columns } = shown.after, { x, y } = pointed;
  const inside = x >= 0 && x < 1 && y >= 0 && y < 1;
  element("place").textContent = inside ? `at column ${Math.floor(x * columns)}, row ${Math.floor(y * rows)}` : "";
  for (const name of LAYERS) {
    const image = shown[name], at = Math.floor(y * image.rows) * image.columns + Math.floor(x * image.columns);
    const value = image.values[image.ranks[at]];
    element(`value-${name}`).textContent = !inside ? "–" : name !== "trust" ? exact(value) : value < 0.5 ? "outside" : "inside";
  }
  if (!data.placed) return;
  const [across, down, first] = data.slices[asked].grid, ends = ["LR", "PA", "SI"];
  const place = first.map((from, axis) => from + Math.floor(x * columns) * across[axis] + Math.floor(y * rows) * down[axis]);
  const parts = place.map((mm, axis) => `${ends[axis][mm < 0 ? 1 : 0]}\u00a0${Math.abs(mm).toFixed(1)}`);
  element("position").textContent = inside ? parts.join(" ") : "–";
};

const kept = new Map();  // slices that are decoded, the last few
const load = (index) => {
  const found = kept.get(index) || Promise.all(LAYERS.map((name) => decoded(data.slices[index][name]))).then(
    (images) => Object.fromEntries(LAYERS.map((name, at) => [name, images[at]])));
  kept.delete(index);
  kept.set(index, found);
  if (kept.size > 5) kept.delete(kept.keys().next().value);
  return found;
};
const show = async (index) => {
  index = Math.min(data.slices.length - 1, Math.max(0, index));
  const { number, window: first } = data.slices[index], last = data.slices[asked]?.window;
  asked = index;
  element("slice").value = index;
  element("number").textContent = number;
  const images = await load(index);
  if (asked !== index) return;
  shown = images;
  if (!last || last[0] !== first[0] || last[1] !== first[1]) setWindow(...first);
  layOut();
  for (const name of ["before", "after"]) paint(name, grey);
  for (const name in OVERLAYS) paint(name, name === "map" ? orange : violet);
  readOut();
  document.documentElement.dataset.slice = number;
};

const choose = (mode) => {
  viewer.dataset.mode = mode;
  viewer.querySelector(`[value="${mode}"]`).checked = true;
  element("at").hidden = mode !== "wipe";
};
const wipe = (share) => {
  element("at").value = share;
  field.style.setProperty("--at", `${Math.min(100, Math.max(0, share))}%`);
};
const overlay = (name, on) => {
  element(name).hidden = !on;
  if (OVERLAYS[name]) element(OVERLAYS[name]).checked = on;
};
const reset = () => setWindow(...data.slices[asked].window);

/* Pointer: over the image it reads values, dragged it changes the window or moves the image, on the divider it wipes. */
let drag = null;
const point = (event) => {
  const area = field.getBoundingClientRect();
  [pointed.x, pointed.y] = [(event.clientX - area.left) / area.width, (event.clientY - area.top) / area.height];
  if (shown) readOut();
};
field.addEventListener("pointerdown", (event) => {
  if (event.button) return;
  field.setPointerCapture(event.pointerId);
  const moves = event.shiftKey || (event.pointerType === "touch" && element("zoom").value !== "0");
  drag = { x: event.clientX, y: event.clientY, low, high, wipes: event.target.id === "divider", moves };
  point(event);
});
field.addEventListener("pointermove", (event) => {
  point(event);
  if (!drag) return;
  if (drag.wipes) return wipe(100 * pointed.x);
  if (drag.moves) {
    pane.scrollBy(drag.x - event.clientX, drag.y - event.clientY);
    [drag.x, drag.y] = [event.clientX, event.clientY];
    return;
  }
  const [from, to] = data.slices[asked].window, step = (to - from) / 400;
  const width = Math.max(step / 10, drag.high - drag.low + step * (event.clientX - drag.x));
  const level = (drag.low + drag.high) / 2 + step * (data.inverted ? -1 : 1) * (event.clientY - drag.y);
  setWindow(level - width / 2, level + width / 2);
});
for (const end of ["pointerup", "pointercancel"]) field.addEventListener(end, () => { drag = null; });

element("slice").addEventListener("input", (event) => show(event.target.valueAsNumber));
element("modes").addEventListener("change", (event) => choose(event.target.value));
element("at").addEventListener("input", (event) => wipe(event.target.valueAsNumber));
element("width").addEventListener("input", readWindow);
element("level").addEventListener("input", readWindow);
element("reset").addEventListener("click", reset);
for (const name in OVERLAYS) element(OVERLAYS[name]).addEventListener("change", (event) => overlay(name, event.target.checked));
element("zoom").addEventListener("change", layOut);
window.addEventListener("resize", layOut);
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input:not([type=checkbox]), select")) return;
  const step = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1, PageUp: 10, PageDown: -10 }[event.key];
  const keys = {
    b: () => choose(viewer.dataset.mode === "before" ? "after" : "before"), w: () => choose("wipe"), r: reset,
    u: () => data.error && overlay("map", element("map").hidden), t: () => data.trust && overlay("trust", element("trust").hidden),
    home: () => show(0), end: () => show(data.slices.length - 1),
  };
  const action = step ? () => show(asked + step) : keys[event.key.toLowerCase()];
  if (!action || (data.slices.length === 1 && (step || event.key.length > 1))) return;
  event.preventDefault();
  action();
});

choose("wipe");
wipe(50);
for (const name of ["map", "trust"]) overlay(name, false);
show(element("slice").valueAsNumber).catch((error) => {
  element("message").textContent = `The images cannot be shown: ${error.message}. A browser of 2023 or later can.`;
  element("message").hidden = false;
});
