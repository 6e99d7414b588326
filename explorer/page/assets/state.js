// All that a link restores, as plain values; the hash of the address holds it.

export const START = Object.freeze({
  yaw: 0.7, pitch: 0.45, distance: 3.6, target: Object.freeze([0, 0, 0]),
  colour: "value", roles: Object.freeze([]), layer: null, shown: 200_000, speed: 2, size: 4, picked: null, model: 0,
});

const NUMBERS = ["yaw", "pitch", "distance", "shown", "speed", "size", "model"];

/** The state as the part of an address behind `#`; what is as at the start is left out. `roles` are those switched off. */
export function toHash(state) {
  const found = new URLSearchParams();
  for (const name of NUMBERS) if (state[name] !== START[name]) found.set(name, round(state[name]));
  if (state.target.some((each) => each !== 0)) found.set("target", state.target.map(round).join(" "));
  if (state.colour !== START.colour) found.set("colour", state.colour);
  if (state.roles.length) found.set("without", state.roles.join(" "));
  if (state.layer !== null) found.set("layer", state.layer);
  if (state.picked !== null) found.set("picked", state.picked);
  return found.toString();
}

/** The state that a hash tells of; whatever in it makes no sense is left as at the start. */
export function fromHash(hash) {
  const given = new URLSearchParams(hash.replace(/^#/, ""));
  const state = { ...START, target: [...START.target], roles: [] };
  for (const name of NUMBERS) {
    const value = Number(given.get(name));
    if (given.has(name) && Number.isFinite(value)) state[name] = value;
  }
  const target = (given.get("target") ?? "").split(" ").map(Number);
  if (target.length === 3 && target.every(Number.isFinite)) state.target = target;
  if (given.has("colour")) state.colour = given.get("colour");
  if (given.has("without")) state.roles = given.get("without").split(" ").filter(Boolean);
  if (/^\d+$/.test(given.get("layer") ?? "")) state.layer = Number(given.get("layer"));
  if (given.has("picked")) state.picked = given.get("picked");
  state.pitch = Math.max(-1.55, Math.min(1.55, state.pitch));
  state.distance = Math.max(0.3, Math.min(40, state.distance));
  state.shown = Math.max(100, Math.min(5_000_000, Math.round(state.shown)));
  return state;
}

function round(value) {
  return Number(Number(value).toFixed(4));
}
