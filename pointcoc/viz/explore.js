const data = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const canvas = $("canvas"), context = canvas.getContext("2d");
const state = { input: 0, stage: 0, block: 0, head: 0, kind: "clusters", opacity: 0.65 };
const view = { yaw: 0.6, pitch: 0.35, zoom: 1 };
let item = null, hovered = -1, pinned = -1, screen = null, drag = null, loading = 0;
const TYPES = { u1: Uint8Array, u2: Uint16Array, f4: Float32Array };
const lut = bytes(data.similarity_colors);

function bytes(text) { return Uint8Array.from(atob(text), (c) => c.charCodeAt(0)); }

async function unpack(one) {
  const stream = new Blob([bytes(one.blob)]).stream().pipeThrough(new DecompressionStream("deflate"));
  const buffer = await new Response(stream).arrayBuffer();
  const arrays = {};
  for (const [name, type, offset, length] of one.arrays) arrays[name] = new TYPES[type](buffer, offset, length);
  return arrays;
}

async function open(number) {
  const mine = ++loading, one = data.inputs[number];
  const next = { ...one, a: await unpack(one) };
  if (one.image) {
    next.bitmap = new Image();
    next.bitmap.src = one.image;
    await next.bitmap.decode();
  }
  if (!one.image) fit(next);
  if (mine !== loading) return;  // another input was chosen meanwhile
  item = next; hovered = pinned = -1;
  state.input = number;
  state.stage = Math.min(state.stage, item.stages.length - 1);
  $("about").textContent = item.network;
  $("hint").textContent = (item.image ? "Point at a pixel" : "Drag to turn, wheel to zoom, arrow keys and + and - too. Point at a point")
    + " to light up its cluster; click to keep it. A ring is the center: the mean position of the points that proposed it.";
  $("opaque").style.display = item.image ? "" : "none";
  fillChoices();
  draw();
}

/* The ball that holds a cloud, so that clouds of any unit fill the view. */
function fit(next) {
  const points = next.a.points, axes = [0, 1, 2];
  const ends = axes.map((axis) => minmax(points.filter((_, i) => i % 3 === axis)));
  next.middle = ends.map(([low, high]) => (low + high) / 2);
  next.radius = 1e-12;
  for (let i = 0; i < points.length; i += 3) {
    next.radius = Math.max(next.radius, Math.hypot(...axes.map((axis) => points[i + axis] - next.middle[axis])));
  }
}

function options(id, count, value) {
  $(id).replaceChildren(...Array.from({ length: count }, (_, i) => new Option(String(i + 1), String(i))));
  $(id).value = String(value);
}

function fillChoices() {
  const stage = item.stages[state.stage];
  state.block = Math.min(state.block, stage.blocks - 1);
  state.head = Math.min(state.head, stage.heads - 1);
  options("stage", item.stages.length, state.stage);
  options("block", stage.blocks, state.block);
  options("head", stage.heads, state.head);
}

function layer() {
  const s = state.stage, stage = item.stages[s], begin = (state.block * stage.heads + state.head) * stage.points;
  const similarity = item.a[`similarity${s}`].subarray(begin, begin + stage.points);
  const [low, high] = minmax(similarity);
  return {
    stage, similarity, low, high, colors: item.a[`colors${s}`], centers: item.a[`centers${s}`], rows: item.a[`rows${s}`],
    region: item.a[`region${s}`], center: item.a[`center${s}`].subarray(begin, begin + stage.points),
    cluster(row) { return this.region[row] * stage.m + this.center[row]; },
  };
}

function minmax(values) {
  let low = Infinity, high = -Infinity;
  for (const value of values) { low = Math.min(low, value); high = Math.max(high, value); }
  return [low, high];
}

/* The row of the stage that stands for an input point: on a grid by division, in a cloud by a table. */
function rowOf(now, point) {
  if (now.rows) return now.rows[point];
  const y = Math.floor(point / item.width), x = point % item.width, t = now.stage.stride;
  return Math.floor(y / t) * now.stage.width + Math.floor(x / t);
}

function colorOf(now, row) {
  const at = 3 * (state.kind === "similarity" ? Math.round(255 * (now.similarity[row] - now.low) / Math.max(1, now.high - now.low)) : now.cluster(row));
  const from = state.kind === "similarity" ? lut : now.colors;
  return [from[at], from[at + 1], from[at + 2]];
}

function lit(now) {
  const point = hovered >= 0 ? hovered : pinned;
  return point < 0 ? -1 : now.cluster(rowOf(now, point));
}

function draw() {
  if (!item) return;
  const ratio = window.devicePixelRatio || 1, side = Math.max(280, Math.min(640, document.body.clientWidth - 44, window.innerHeight - 240));
  const scale = item.image ? side / Math.max(item.width, item.height) : 1;
  const width = Math.round(item.image ? item.width * scale : side), height = Math.round(item.image ? item.height * scale : side);
  canvas.width = Math.round(width * ratio); canvas.height = Math.round(height * ratio);
  canvas.style.width = `${width}px`;
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  screen = { width, height, scale };
  $("scale").style.display = state.kind === "similarity" ? "block" : "none";
  const now = layer();
  if (item.image) drawImage(now); else drawCloud(now);
  tell(now);
}

function drawImage(now) {
  const { width, height, scale } = screen, target = lit(now);
  context.imageSmoothingEnabled = true;
  context.drawImage(item.bitmap, 0, 0, width, height);
  const map = new ImageData(item.width, item.height);
  for (let point = 0; point < item.width * item.height; point++) {
    const row = rowOf(now, point), inside = target < 0 || now.cluster(row) === target;
    const color = inside ? colorOf(now, row) : [20, 20, 22];
    map.data.set(color, 4 * point);
    // The lit cluster shows the image itself, unless the colors say something new.
    const shown = target < 0 || state.kind === "similarity" ? state.opacity : Math.min(state.opacity, 0.2);
    map.data[4 * point + 3] = 255 * (inside ? shown : 0.78);
  }
  const small = new OffscreenCanvas(item.width, item.height);
  small.getContext("2d").putImageData(map, 0, 0);
  context.imageSmoothingEnabled = false;
  context.drawImage(small, 0, 0, width, height);
  const place = (row, column) => [(column + 0.5) * now.stage.stride * scale, (row + 0.5) * now.stage.stride * scale];
  for (let c = 0; c < now.stage.centers; c++) {
    if (Number.isNaN(now.centers[2 * c])) continue;
    if (target < 0 ? now.stage.centers <= 64 : c === target) ring(...place(now.centers[2 * c], now.centers[2 * c + 1]), now.colors, c, c === target);
  }
}

function ring(x, y, colors, c, big) {
  context.beginPath();
  context.arc(x, y, big ? 9 : 4, 0, 2 * Math.PI);
  context.fillStyle = `rgb(${colors[3 * c]},${colors[3 * c + 1]},${colors[3 * c + 2]})`;
  context.fill();
  context.lineWidth = big ? 4 : 2; context.strokeStyle = "#000"; context.stroke();
  context.lineWidth = big ? 2 : 1; context.strokeStyle = "#fff"; context.stroke();
}

function project(points, at) {
  const [x, y, z] = item.middle.map((middle, axis) => (points[at + axis] - middle) / item.radius);
  const cy = Math.cos(view.yaw), sy = Math.sin(view.yaw), cp = Math.cos(view.pitch), sp = Math.sin(view.pitch);
  const right = cy * x + sy * z, back = -sy * x + cy * z, up = cp * y - sp * back, depth = sp * y + cp * back;
  const unit = screen.width * 0.4 * view.zoom * 4 / (4 - depth);
  return [screen.width / 2 + unit * right, screen.height / 2 - unit * up, depth];
}

function drawCloud(now) {
  context.clearRect(0, 0, screen.width, screen.height);
  const points = item.a.points, count = points.length / 3, target = lit(now);
  screen.at = Array.from({ length: count }, (_, i) => project(points, 3 * i));
  const order = Array.from({ length: count }, (_, i) => i).sort((a, b) => screen.at[a][2] - screen.at[b][2]);
  const size = Math.max(1.6, Math.min(5, 130 / Math.sqrt(count))) * Math.sqrt(view.zoom);
  for (const i of order) {
    const row = rowOf(now, i), inside = target < 0 || now.cluster(row) === target;
    const [x, y, depth] = screen.at[i], [r, g, b] = inside ? colorOf(now, row) : [140, 140, 146];
    context.globalAlpha = inside ? 1 : 0.22;
    context.fillStyle = `rgb(${r},${g},${b})`;
    context.beginPath();
    context.arc(x, y, size * (1 + 0.25 * depth) * (target >= 0 && inside ? 1.3 : 1), 0, 2 * Math.PI);
    context.fill();
  }
  context.globalAlpha = 1;
  for (let c = 0; c < now.stage.centers; c++) {
    if (Number.isNaN(now.centers[3 * c])) continue;
    const [x, y] = project(now.centers, 3 * c);
    if (target < 0 ? now.stage.centers <= 64 : c === target) ring(x, y, now.colors, c, c === target);
  }
}

function tell(now) {
  const sizes = new Map();
  for (let row = 0; row < now.stage.points; row++) sizes.set(now.cluster(row), (sizes.get(now.cluster(row)) || 0) + 1);
  const lines = [`stage ${state.stage + 1}, block ${state.block + 1}, head ${state.head + 1}`,
    `${now.stage.points} points in ${sizes.size} clusters of ${now.stage.centers} centers`];
  const point = hovered >= 0 ? hovered : pinned;
  if (point >= 0) {
    const row = rowOf(now, point), cluster = now.cluster(row), d = item.image ? 2 : 3;
    const at = Array.from(now.centers.subarray(d * cluster, d * cluster + d), (v) => v.toFixed(d === 2 ? 1 : 2));
    const where = d === 2 ? `row ${at[0]}, column ${at[1]} of this stage` : `(${at.join(", ")})`;
    lines.push("", `cluster ${cluster}${hovered < 0 ? " (kept)" : ""}: ${sizes.get(cluster)} points`,
      `similarity of this point: ${(now.similarity[row] / 255).toFixed(2)}`, `center at ${where}`);
  } else lines.push("", `Point at the ${item.image ? "image" : "cloud"}.`);
  $("low").textContent = (now.low / 255).toFixed(2); $("high").textContent = (now.high / 255).toFixed(2);
  $("status").textContent = lines.join("\n");
}

function pointAt(event) {
  const box = canvas.getBoundingClientRect(), x = event.clientX - box.left - 1, y = event.clientY - box.top - 1;
  if (item.image) {
    const column = Math.floor(x / screen.scale), row = Math.floor(y / screen.scale);
    return column < 0 || row < 0 || column >= item.width || row >= item.height ? -1 : row * item.width + column;
  }
  let best = -1, least = 14 ** 2, depth = -Infinity;
  screen.at.forEach(([px, py, pz], i) => {
    const far = (px - x) ** 2 + (py - y) ** 2;
    if (far < 14 ** 2 && (far + 40 < least || (far < least + 40 && pz > depth))) { best = i; least = Math.min(far, least); depth = pz; }
  });
  return best;
}

canvas.addEventListener("pointermove", (event) => {
  if (!item || !screen) return;
  if (drag && !item.image) {
    view.yaw += (event.clientX - drag.x) * 0.01;
    view.pitch = Math.max(-1.5, Math.min(1.5, view.pitch + (event.clientY - drag.y) * 0.01));
    drag = { x: event.clientX, y: event.clientY, moved: drag.moved + Math.hypot(event.clientX - drag.x, event.clientY - drag.y) };
    return draw();
  }
  const point = pointAt(event);
  if (point !== hovered) { hovered = point; draw(); }
});
canvas.addEventListener("pointerdown", (event) => { drag = { x: event.clientX, y: event.clientY, moved: 0 }; canvas.setPointerCapture(event.pointerId); });
canvas.addEventListener("pointerup", (event) => {
  if (drag && drag.moved < 4 && item) { const point = pointAt(event); pinned = point === pinned ? -1 : point; draw(); }
  drag = null;
});
canvas.addEventListener("pointerleave", () => { if (hovered >= 0) { hovered = -1; draw(); } });
canvas.addEventListener("wheel", (event) => {
  if (!item || item.image) return;
  event.preventDefault();
  zoom(Math.exp(-event.deltaY * 0.001));
}, { passive: false });
canvas.addEventListener("keydown", (event) => {
  if (!item || item.image) return;
  const turn = { ArrowLeft: [-0.1, 0], ArrowRight: [0.1, 0], ArrowUp: [0, -0.1], ArrowDown: [0, 0.1] }[event.key];
  if (turn) { view.yaw += turn[0]; view.pitch = Math.max(-1.5, Math.min(1.5, view.pitch + turn[1])); draw(); event.preventDefault(); }
  if (event.key === "+" || event.key === "-") zoom(event.key === "+" ? 1.15 : 1 / 1.15);
});

function zoom(factor) { view.zoom = Math.max(0.3, Math.min(12, view.zoom * factor)); draw(); }

for (const name of ["stage", "block", "head"]) {
  $(name).addEventListener("change", (event) => { state[name] = Number(event.target.value); fillChoices(); draw(); });
}
$("input").addEventListener("change", (event) => open(Number(event.target.value)));
$("kind").addEventListener("change", (event) => { state.kind = event.target.value; draw(); });
$("opacity").addEventListener("input", (event) => { state.opacity = Number(event.target.value) / 100; draw(); });
window.addEventListener("resize", draw);
$("input").replaceChildren(...data.inputs.map((one, i) => new Option(one.name, String(i))));
$("bar").style.background = `linear-gradient(90deg, ${Array.from({ length: 9 }, (_, i) => {
  const at = 3 * Math.round(i * 255 / 8);
  return `rgb(${lut[at]},${lut[at + 1]},${lut[at + 2]})`;
}).join(",")})`;
open(0).then(() => { document.body.dataset.ready = "yes"; });
