// One camera for all models: it turns about a point, and every viewport is drawn with the same matrix.

const FIELD = 0.9; // Radians from the lower to the upper edge.

/** Column-major 4 x 4: from [-1, 1]^3 to clip space, for a viewport of that width over height. */
export function cameraMatrix({ yaw, pitch, distance, target }, aspect) {
  const [cy, sy, cp, sp] = [Math.cos(yaw), Math.sin(yaw), Math.cos(pitch), Math.sin(pitch)];
  const back = [sy * cp, sp, cy * cp], right = [cy, 0, -sy], up = [-sy * sp, cp, -cy * sp];
  const eye = target.map((each, i) => each + distance * back[i]);
  const scale = 1 / Math.tan(FIELD / 2), near = distance / 100, far = distance + 10;
  const [x, y] = aspect < 1 ? [scale, scale * aspect] : [scale / aspect, scale];
  const rows = [right.map((v) => v * x), up.map((v) => v * y), back];
  const shift = rows.map((row) => -row.reduce((sum, v, i) => sum + v * eye[i], 0));
  const depth = -(far + near) / (far - near), offset = (-2 * far * near) / (far - near);
  const out = new Float32Array(16);
  for (let i = 0; i < 3; i++) out.set([rows[0][i], rows[1][i], rows[2][i] * depth, -rows[2][i]], 4 * i);
  out.set([shift[0], shift[1], shift[2] * depth + offset, -shift[2]], 12);
  return out;
}

export function turn(state, dx, dy) {
  return { ...state, yaw: state.yaw - dx, pitch: Math.max(-1.55, Math.min(1.55, state.pitch + dy)) };
}

export function zoom(state, factor) {
  return { ...state, distance: Math.max(0.3, Math.min(40, state.distance * factor)) };
}

/** Move the point that is looked at, by shares of the height of what is seen. */
export function pan(state, dx, dy) {
  const reach = 2 * state.distance * Math.tan(FIELD / 2);
  const [cy, sy, cp, sp] = [Math.cos(state.yaw), Math.sin(state.yaw), Math.cos(state.pitch), Math.sin(state.pitch)];
  const right = [cy, 0, -sy], up = [-sy * sp, cp, -cy * sp];
  return { ...state, target: state.target.map((each, i) => each - reach * (dx * right[i] - dy * up[i])) };
}
