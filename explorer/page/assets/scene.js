// The scene document as arrays. One model: n points in an order of which every beginning is a fair sample.

const KINDS = { u8: Uint8Array, u16: Uint16Array, u32: Uint32Array, f32: Float32Array };
const NO_CLUSTER = 255;

/** A typed array out of `{type, data}`, base64 of little-endian numbers. */
export function decode({ type, data }) {
  const text = atob(data);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return new KINDS[type](bytes.buffer);
}

/** The document with its arrays decoded, and a place in [-1, 1]^3 for each point. */
export function readScene(document) {
  if (document.version !== 1) throw new Error(`This page reads scenes of version 1, and this is ${document.version}.`);
  return { ...document, models: document.models.map(readModel) };
}

function readModel(model) {
  const points = Object.fromEntries(Object.entries(model.points).map(([name, array]) => [name, decode(array)]));
  const { tensor, rows, cols } = points;
  const positions = new Float32Array(tensor.length * 3);
  for (let i = 0; i < tensor.length; i++) {
    const { shape, height } = model.tensors[tensor[i]];
    positions[3 * i] = shape[1] > 1 ? (2 * cols[i]) / (shape[1] - 1) - 1 : 0;
    positions[3 * i + 1] = height;
    positions[3 * i + 2] = shape[0] > 1 ? (2 * rows[i]) / (shape[0] - 1) - 1 : 0;
  }
  const byName = new Map(model.tensors.map((each, i) => [each.name, i]));
  return { ...model, points, positions, byName, count: tensor.length };
}

/** Layers from the first to the last over all models; roles in the order in which they come. */
export function layersOf(scene) {
  return 1 + Math.max(0, ...scene.models.flatMap((model) => model.tensors.map((tensor) => tensor.layer)));
}

export function rolesOf(scene) {
  return [...new Set(scene.models.flatMap((model) => model.tensors.map((tensor) => tensor.role)))];
}

/** Modes of colour: what each point gets, as steps of a palette, and what the legend says. */
export const COLOURS = ["value", "DNA's value", "error", "layer", "role", "cluster"];

/**
 * For each model a Uint8Array of steps, the palette (256 colours), and the legend.
 * Values are measured in standard deviations of their matrix, so that no matrix hides another.
 */
export function colourSteps(scene, mode) {
  const roles = rolesOf(scene), layers = layersOf(scene);
  const { sequential, diverging, categories } = scene.palettes;
  const repeated = Array.from({ length: 256 }, (_, i) => lighter(categories[i % categories.length], Math.floor(i / categories.length)));
  if (mode === "role") {
    const steps = perTensor(scene, (tensor) => roles.indexOf(tensor.role));
    return { steps, palette: repeated, legend: { names: roles.map((name, i) => [name, repeated[i]]) } };
  }
  if (mode === "layer") {
    const steps = perTensor(scene, (tensor) => Math.round((255 * tensor.layer) / Math.max(1, layers - 1)));
    return { steps, palette: sequential, legend: { low: "first", high: "last", about: "layer" } };
  }
  if (mode === "cluster") {
    const palette = repeated.slice(); palette[NO_CLUSTER] = scene.palettes.null;
    const steps = scene.models.map((model) => model.points.clusters);
    return { steps, palette, legend: { about: "cluster of the row; grey: none was looked for" } };
  }
  const signed = mode !== "error";
  const steps = scene.models.map((model) => scaledSteps(model, mode));
  const legend = signed
    ? { low: "-3 sd", high: "+3 sd", about: mode === "value" ? "weight, in sd of its matrix" : "what the DNA says, in sd of the matrix" }
    : { low: "0", high: "3 sd", about: "|weight less what the DNA says|, in sd of its matrix" };
  return { steps, palette: signed ? diverging : sequential, legend };
}

/** The colour after so many rounds through all of them: each round is half as far from white. */
function lighter(hex, rounds) {
  const mixed = [1, 3, 5].map((at) => Math.round(255 - (255 - parseInt(hex.slice(at, at + 2), 16)) * 0.5 ** Math.min(rounds, 2)));
  return `#${mixed.map((each) => each.toString(16).padStart(2, "0")).join("")}`;
}

function perTensor(scene, step) {
  return scene.models.map((model) => {
    const of = Uint8Array.from(model.tensors, step);
    return Uint8Array.from(model.points.tensor, (at) => of[at]);
  });
}

function scaledSteps(model, mode) {
  const { tensor, values, rebuilt } = model.points;
  const deviations = (model.deviations ??= deviationsOf(model));
  const out = new Uint8Array(model.count);
  for (let i = 0; i < out.length; i++) {
    const unit = 3 * deviations[tensor[i]] || 1;
    const x = mode === "error" ? (2 * Math.abs(values[i] - rebuilt[i])) / unit - 1 : (mode === "value" ? values[i] : rebuilt[i]) / unit;
    out[i] = Math.max(0, Math.min(255, Math.round(127.5 * (x + 1))));
  }
  return out;
}

function deviationsOf(model) {
  const sums = new Float64Array(model.tensors.length), squares = new Float64Array(sums.length), counts = new Float64Array(sums.length);
  const { tensor, values } = model.points;
  for (let i = 0; i < values.length; i++) {
    sums[tensor[i]] += values[i]; squares[tensor[i]] += values[i] ** 2; counts[tensor[i]]++;
  }
  return sums.map((sum, t) => (counts[t] ? Math.sqrt(Math.max(0, squares[t] / counts[t] - (sum / counts[t]) ** 2)) : 0));
}
