// The explorer in an element of a page: `mount(element, document, {state, onState})`. Nothing in it asks the network.

import { COLOURS, colourSteps, decode, layersOf, readScene, rolesOf } from "./scene.js";
import { START, fromHash, toHash } from "./state.js";
import { cameraMatrix } from "./camera.js";
import { HIDDEN, PICKED, Renderer, SHOWN } from "./renderer.js";
import { describePoint, pickPoint } from "./pick.js";
import { element, factsTable, heatMap, number, spectrumChart } from "./charts.js";
import { encodeGif } from "./gif.js";
import { listen } from "./controls.js";

const WHILE_MOVING = 30_000; // Points of each model while the camera moves.
const REST = 180; // Milliseconds without a change until all are drawn.
const FRAMES = 36; // Of a turn.

/**
 * Show a scene document (`explorer.page.encode`) in an element.
 *
 * - `state`: what to begin with, as `fromHash` gives it; `onState(state)` is called when it has changed and come to rest.
 *
 * Returns `{state(), set(changes), ready, destroy()}`: `ready` is a promise that is kept when all points are drawn.
 */
export function mount(root, scene_document, { state: begin = START, onState = () => {} } = {}) {
  return new Viewer(root, readScene(scene_document), begin, onState).handle();
}

class Viewer {
  constructor(root, scene, begin, onState) {
    this.scene = scene; this.onState = onState; this.root = root;
    this.state = { ...START, ...begin };
    if (!COLOURS.includes(this.state.colour)) this.state.colour = START.colour;
    this.layers = layersOf(scene); this.roles = rolesOf(scene);
    this.build();
    this.renderer = Renderer.on(this.canvas, scene);
    if (!this.renderer) return this.withoutWebgl();
    this.connect();
    this.recolour(); this.remark(); this.describePicked();
    this.observer = new ResizeObserver(() => this.draw(true));
    this.observer.observe(this.stage);
    this.ready = new Promise((done) => { this.done = done; });
    this.draw(true);
  }

  handle() {
    return { state: () => ({ ...this.state }), set: (changes) => this.set(changes), ready: this.ready ?? Promise.resolve(), destroy: () => this.destroy() };
  }

  destroy() {
    this.stop(); this.observer?.disconnect(); clearTimeout(this.resting); this.root.replaceChildren();
  }

  withoutWebgl() {
    this.stage.replaceChildren(element("p", { role: "alert" }, "This browser has no WebGL2, which the points are drawn with. Open the page in a browser that has it; the matrices are listed beside."));
  }

  // What is on the page.

  build() {
    this.canvas = element("canvas", { tabindex: "0", role: "application", "aria-label": this.label(), "aria-describedby": "explorer-keys" });
    this.names = this.scene.models.map((model) => element("div", { class: "name" }, element("bdi", {}, model.key)));
    this.tip = element("div", { class: "tip", hidden: true });
    this.count = element("p", { class: "count", "aria-live": "off" });
    this.live = element("p", { class: "hidden", "aria-live": "polite" });
    this.stage = element("div", { class: "stage" }, this.canvas, ...this.names, this.tip);
    this.picked = element("section", { class: "picked", "aria-label": "The picked matrix" });
    this.legend = element("div", { class: "legend" });
    this.root.replaceChildren(element("div", { class: "explorer" }, this.panel(), element("div", { class: "middle" }, this.count, this.stage, this.playing()), this.picked, this.live));
  }

  label() {
    return `${this.root.dataset.alt ?? "Weights as points in three dimensions."} Arrow keys turn, plus and minus come nearer and go away, n and p pick the next and the last matrix.`;
  }

  panel() {
    this.colour = element("select", { id: "explorer-colour", onchange: () => this.set({ colour: this.colour.value }) }, ...COLOURS.map((name) => element("option", { value: name, selected: name === this.state.colour }, name)));
    this.shown = element("input", { id: "explorer-shown", type: "range", min: 2, max: 7, step: 0.1, onchange: () => this.set({ shown: Math.round(10 ** this.shown.value) }) });
    this.size = element("input", { id: "explorer-size", type: "range", min: 1, max: 10, step: 0.5, oninput: () => this.set({ size: Number(this.size.value) }) });
    this.checks = this.roles.map((role) => element("input", { type: "checkbox", checked: true, onchange: () => this.toggleRoles() }));
    const matrices = this.scene.models.flatMap((model, at) => model.tensors.map((tensor) => [at, tensor.name]));
    this.matrix = element("select", { id: "explorer-matrix", onchange: () => this.pickFromList() }, element("option", { value: "" }, "none"), ...matrices.map(([at, name]) => element("option", { value: `${at} ${name}` }, this.scene.models.length > 1 ? `${this.scene.models[at].key}: ${name}` : name)));
    const all = element("button", { type: "button", onclick: () => this.set({ roles: [] }) }, "all roles");
    return element("form", { class: "panel", "aria-label": "What is shown", onsubmit: (event) => event.preventDefault() },
      element("label", { for: "explorer-colour" }, "colour"), this.colour, this.legend,
      element("label", { for: "explorer-matrix" }, "matrix"), this.matrix,
      element("fieldset", {}, element("legend", {}, "roles"), ...this.roles.map((role, i) => element("label", { class: "check" }, this.checks[i], role.replaceAll("_", " "))), all),
      element("label", { for: "explorer-shown" }, "points at most"), this.shown,
      element("label", { for: "explorer-size" }, "size of points"), this.size,
      element("div", { class: "buttons" },
        ...[["reset view", () => this.reset()], ["copy link", () => this.copyLink()], ["PNG", () => this.savePng()], ["GIF", () => this.saveGif()], ["video", () => this.saveVideo()]].map(([text, act]) => element("button", { type: "button", onclick: act }, text))),
      element("p", { class: "quiet", id: "explorer-keys" }, "Drag or arrow keys turn; wheel, pinch or +/- zoom; Shift moves; click picks; n and p go through the matrices."));
  }

  playing() {
    this.slider = element("input", { id: "explorer-layer", type: "range", min: -1, max: this.layers - 1, step: 1, oninput: () => this.set({ layer: Number(this.slider.value) < 0 ? null : Number(this.slider.value) }) });
    this.play = element("button", { type: "button", "aria-pressed": "false", onclick: () => (this.timer ? this.stop() : this.start()) }, "play");
    this.speed = element("select", { "aria-label": "layers a second", onchange: () => this.setSpeed() }, ...[0.5, 1, 2, 4, 8].map((each) => element("option", { value: each, selected: each === this.state.speed }, `${each} a second`)));
    this.layerName = element("output", { for: "explorer-layer" });
    return element("div", { class: "playing" }, this.play, element("label", { for: "explorer-layer" }, "layer"), this.slider, this.layerName, this.speed);
  }

  // States.

  connect() {
    listen(this.canvas, {
      change: (change) => this.move(change),
      hover: (x, y) => this.hover(x, y),
      click: (x, y) => this.click(x, y),
      key: (name) => this.key(name),
    });
    this.canvas.addEventListener("pointerleave", () => { this.tip.hidden = true; });
  }

  move(change) {
    this.state = { ...this.state, ...change(this.state) };
    this.tip.hidden = true;
    this.draw(false);
  }

  set(changes) {
    this.state = { ...this.state, ...changes };
    if ("colour" in changes) this.recolour();
    if ("roles" in changes || "layer" in changes || "picked" in changes || "model" in changes) this.remark();
    if ("picked" in changes || "model" in changes) this.describePicked();
    this.draw(false);
  }

  toggleRoles() {
    this.set({ roles: this.roles.filter((_, i) => !this.checks[i].checked) });
  }

  setSpeed() {
    this.set({ speed: Number(this.speed.value) });
    if (this.timer) { this.stop(); this.start(); }
  }

  start() {
    this.play.textContent = "pause"; this.play.setAttribute("aria-pressed", "true");
    this.timer = setInterval(() => this.set({ layer: ((this.state.layer ?? -1) + 1) % this.layers }), 1000 / this.state.speed);
  }

  stop() {
    clearInterval(this.timer);
    this.timer = undefined; this.play.textContent = "play"; this.play.setAttribute("aria-pressed", "false");
  }

  reset() {
    const { yaw, pitch, distance, target } = START;
    this.set({ yaw, pitch, distance, target: [...target], layer: null, roles: [] });
  }

  key(name) {
    if (name === "Home") { this.reset(); return true; }
    if (name === "Escape") { this.set({ picked: null }); return true; }
    if (name !== "n" && name !== "p") return false;
    const { tensors, byName } = this.scene.models[this.model()], at = byName.get(this.state.picked);
    const next = at === undefined ? (name === "n" ? 0 : tensors.length - 1) : (at + (name === "n" ? 1 : -1) + tensors.length) % tensors.length;
    this.set({ picked: tensors[next].name });
    return true;
  }

  model() {
    return Math.max(0, Math.min(this.scene.models.length - 1, this.state.model));
  }

  pickFromList() {
    const [at, ...name] = this.matrix.value.split(" ");
    this.set(name.length ? { model: Number(at), picked: name.join(" ") } : { picked: null });
  }

  // Drawing.

  recolour() {
    const found = colourSteps(this.scene, this.state.colour);
    this.renderer.colour(found);
    this.colour.value = this.state.colour;
    const { legend, palette } = found;
    const bar = element("span", { class: "bar", style: `background: linear-gradient(90deg, ${palette.filter((_, i) => i % 16 === 0).join(", ")})` });
    this.legend.replaceChildren(...(legend.names
      ? legend.names.map(([name, colour]) => element("span", { class: "entry" }, element("i", { style: `background: ${colour}` }), name.replaceAll("_", " ")))
      : legend.low ? [element("span", { class: "ends" }, legend.low, bar, legend.high), legend.about] : [legend.about]));
  }

  remark() {
    const { roles, layer, picked } = this.state;
    this.flags = this.scene.models.map((model) => Uint8Array.from(model.tensors, (tensor) =>
      roles.includes(tensor.role) || (layer !== null && tensor.layer !== layer) ? HIDDEN : tensor.name === picked ? PICKED : SHOWN));
    this.renderer.mark(this.flags);
    this.checks.forEach((check, i) => { check.checked = !roles.includes(this.roles[i]); });
    this.slider.value = layer ?? -1;
    this.layerName.textContent = layer === null ? "all layers" : `${layer + 1} of ${this.layers}`;
    this.slider.setAttribute("aria-valuetext", this.layerName.textContent);
  }

  views() {
    const count = this.scene.models.length, { width, height } = this.canvas;
    const cols = width < height ? Math.min(count, count > 2 ? 2 : 1) : count > 3 && width < 2 * height ? 2 : count;
    const rows = Math.ceil(count / cols), [w, h] = [Math.floor(width / cols), Math.floor(height / rows)];
    const matrix = cameraMatrix(this.state, w / h);
    return Array.from({ length: count }, (_, i) => ({ x: (i % cols) * w, y: Math.floor(i / cols) * h, width: w, height: h, matrix }));
  }

  fit() {
    const ratio = Math.min(2, window.devicePixelRatio || 1);
    const [width, height] = [Math.max(1, Math.round(this.stage.clientWidth * ratio)), Math.max(1, Math.round(this.stage.clientHeight * ratio))];
    if (this.canvas.width !== width || this.canvas.height !== height) Object.assign(this.canvas, { width, height });
    return ratio;
  }

  /** Draw soon: few points at once, and all of them when nothing has changed for a while (or now, if `all`). */
  draw(all) {
    clearTimeout(this.resting);
    this.wants = all ? Infinity : Math.max(this.wants ?? 0, WHILE_MOVING);
    if (!this.asked) this.asked = requestAnimationFrame(() => { this.asked = 0; this.drawNow(this.wants); this.wants = 0; });
    if (!all) this.resting = setTimeout(() => this.draw(true), REST);
  }

  drawNow(most) {
    const ratio = this.fit(), limit = Math.min(most, this.state.shown);
    this.drawn = this.views();
    this.renderer.draw(this.drawn, limit, this.state.size * ratio, this.background());
    this.names.forEach((name, i) => { name.style.left = `${this.drawn[i].x / ratio + 8}px`; name.style.top = `${this.drawn[i].y / ratio + 6}px`; });
    this.tell(limit);
    if (most === Infinity) { this.onState({ ...this.state }); this.done?.(); this.done = null; }
  }

  tell(limit) {
    const format = (value) => value.toLocaleString("en");
    const shown = this.visible(limit);
    const total = this.scene.models.reduce((sum, model) => sum + model.total, 0);
    this.count.textContent = `${format(shown)} of ${format(total)} shown`;
    this.shown.value = Math.log10(this.state.shown); this.size.value = this.state.size; this.speed.value = this.state.speed;
  }

  /** How many points are drawn: those of the first `limit` of each model whose matrix is not hidden. */
  visible(limit) {
    if (this.known?.flags === this.flags && this.known.limit === limit) return this.known.count;
    const count = this.scene.models.reduce((sum, { count, points }, i) => {
      let own = 0;
      for (let at = 0, end = Math.min(count, limit); at < end; at++) if (this.flags[i][points.tensor[at]]) own++;
      return sum + own;
    }, 0);
    this.known = { flags: this.flags, limit, count };
    return count;
  }

  background() {
    const found = getComputedStyle(this.root).getPropertyValue("--paper").trim() || "#ffffff";
    return [1, 3, 5].map((at) => parseInt(found.slice(at, at + 2), 16) / 255);
  }

  // What is under the pointer, and what is picked.

  at(x, y) {
    const ratio = this.canvas.width / (this.canvas.clientWidth || 1), [px, py] = [x * ratio, y * ratio];
    const model = this.drawn.findIndex((view) => px >= view.x && px < view.x + view.width && py >= view.y && py < view.y + view.height);
    if (model < 0) return null;
    const view = this.drawn[model], reach = Math.max(3, 4 * ratio);
    const point = pickPoint(this.scene.models[model], this.flags[model], view, this.state.shown, px - view.x, py - view.y, reach);
    return point < 0 ? null : { model, point };
  }

  hover(x, y) {
    this.pointer = [x, y];
    if (this.hovering) return;
    this.hovering = requestAnimationFrame(() => {
      this.hovering = 0;
      const found = this.drawn && this.at(...this.pointer);
      this.tip.hidden = !found;
      if (!found) return;
      this.tip.replaceChildren(...this.lines(describePoint(this.scene.models[found.model], found.point)));
      const [left, top] = this.pointer, wide = this.stage.clientWidth;
      this.tip.style.left = `${Math.min(left + 12, Math.max(0, wide - this.tip.offsetWidth - 4))}px`;
      this.tip.style.top = `${top + 12}px`;
    });
  }

  lines({ tensor, layer, role, row, column, value, dna }) {
    return [element("bdi", { class: "tensor" }, tensor), ...[`layer ${layer + 1} of ${this.layers}, ${role.replaceAll("_", " ")}`, `row ${row}, column ${column}`, `weight ${number(value)}, DNA ${number(dna)}`].map((text) => element("span", {}, text))];
  }

  click(x, y) {
    const found = this.at(x, y);
    if (!found) return;
    const model = this.scene.models[found.model], told = describePoint(model, found.point);
    this.set({ model: found.model, picked: told.tensor });
    this.live.textContent = `${told.tensor}, row ${told.row}, column ${told.column}: weight ${number(told.value)}, the DNA says ${number(told.dna)}.`;
  }

  describePicked() {
    const model = this.scene.models[this.model()], tensor = model.tensors[model.byName.get(this.state.picked)];
    this.matrix.value = tensor ? `${this.model()} ${tensor.name}` : "";
    if (!tensor) {
      this.picked.replaceChildren(element("p", { class: "quiet" }, "Pick a matrix: click a point, choose from the list, or press n."));
      return;
    }
    const palette = this.scene.palettes.diverging, draw = (name, label) => heatMap(tensor[name], decode(tensor[name]), palette, label);
    const of = `${tensor.shape[0]} x ${tensor.shape[1]}`;
    this.picked.replaceChildren(
      element("h2", {}, element("bdi", {}, tensor.name)),
      factsTable("what it is", [["model", model.key], ["role", tensor.role.replaceAll("_", " ")], ["layer", `${tensor.layer + 1} of ${this.layers}`], ["shape", of], ["R² of the DNA", number(tensor.r2, 3)], ["of its null", number(tensor.null_r2, 3)]]),
      element("h3", {}, "frequencies over their null"), spectrumChart(tensor, this.scene.bands),
      element("h3", {}, "canonical order: weights, and what the DNA says"),
      element("div", { class: "pair" }, draw("picture", `Means of blocks of the ${of} weights.`), draw("rebuilt", "Means of the same blocks of what the DNA says.")));
    if (this.canvas === document.activeElement) this.live.textContent = `${tensor.name}, ${tensor.role.replaceAll("_", " ")}, ${of}, R squared ${number(tensor.r2, 3)}, null ${number(tensor.null_r2, 3)}.`;
  }

  // Files.

  async copyLink() {
    const link = `${location.href.split("#")[0]}#${toHash(this.state)}`;
    try { await navigator.clipboard.writeText(link); this.live.textContent = "The link is copied."; }
    catch { this.live.textContent = "The link stands in the address of this page."; }
  }

  savePng() {
    this.drawNow(Infinity);
    this.canvas.toBlob((blob) => this.save(blob, "png"), "image/png");
  }

  /** One turn about the vertical axis, on a small canvas. */
  async saveGif() {
    const frames = [], small = document.createElement("canvas"), scale = Math.min(1, 480 / this.canvas.width);
    const [width, height] = [Math.round(this.canvas.width * scale), Math.round(this.canvas.height * scale)];
    Object.assign(small, { width, height });
    const context = small.getContext("2d", { willReadFrequently: true }), before = this.state;
    for (let i = 0; i < FRAMES; i++) {
      this.state = { ...before, yaw: before.yaw + (2 * Math.PI * i) / FRAMES };
      this.drawNow(WHILE_MOVING);
      context.drawImage(this.canvas, 0, 0, width, height);
      frames.push(context.getImageData(0, 0, width, height).data);
    }
    this.state = before;
    this.draw(true);
    this.save(new Blob([encodeGif(frames, width, height, 8)], { type: "image/gif" }), "gif");
  }

  /** The same turn as MP4, or as WebM where the browser records no MP4. */
  async saveVideo() {
    const type = ["video/mp4", "video/webm"].find((each) => window.MediaRecorder?.isTypeSupported(each));
    if (!type) { this.live.textContent = "This browser records no video. Save a GIF."; return; }
    const recorder = new MediaRecorder(this.canvas.captureStream(30), { mimeType: type }), parts = [], before = this.state;
    recorder.ondataavailable = (event) => parts.push(event.data);
    const ended = new Promise((done) => { recorder.onstop = done; });
    recorder.start();
    for (let i = 0; i < 2 * FRAMES; i++) {
      this.state = { ...before, yaw: before.yaw + (Math.PI * i) / FRAMES };
      this.drawNow(WHILE_MOVING);
      await new Promise((done) => setTimeout(done, 33));
    }
    recorder.stop();
    await ended;
    this.state = before;
    this.draw(true);
    this.save(new Blob(parts, { type }), type.split("/")[1]);
  }

  save(blob, suffix) {
    const link = element("a", { href: URL.createObjectURL(blob), download: `dna-zoo-${this.scene.models.map((model) => model.key.replace(/[^\w.-]+/g, "-")).join("-")}.${suffix}` });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
    this.live.textContent = `Saved as ${link.download}.`;
  }
}

/** What the single page does: mount the scene that is in it, and keep the state in the address. */
export function start() {
  const scene = JSON.parse(document.getElementById("scene").textContent);
  const keep = (state) => { const hash = toHash(state); if (hash !== location.hash.slice(1)) history.replaceState(null, "", `#${hash}`); };
  const viewer = mount(document.getElementById("explorer"), scene, { state: fromHash(location.hash), onState: keep });
  window.addEventListener("hashchange", () => viewer.set(fromHash(location.hash)));
  window.explorer = viewer;
}
