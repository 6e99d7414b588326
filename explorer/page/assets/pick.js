// Which point is under the pointer: the nearest to the eye of those whose dot the pointer is on.

/** Index of a point of the first `most` of a model, or -1. `x`, `y`: pixels from the upper left of its viewport. */
export function pickPoint(model, flags, { width, height, matrix }, most, x, y, reach) {
  const { positions, points } = model, m = matrix;
  let best = -1, nearest = Infinity;
  for (let i = 0, end = Math.min(model.count, most); i < end; i++) {
    if (!flags[points.tensor[i]]) continue;
    const px = positions[3 * i], py = positions[3 * i + 1], pz = positions[3 * i + 2];
    const w = m[3] * px + m[7] * py + m[11] * pz + m[15];
    if (w <= 0 || w >= nearest) continue;
    const dx = ((m[0] * px + m[4] * py + m[8] * pz + m[12]) / w + 1) * 0.5 * width - x;
    const dy = (1 - (m[1] * px + m[5] * py + m[9] * pz + m[13]) / w) * 0.5 * height - y;
    if (dx * dx + dy * dy <= reach * reach) { best = i; nearest = w; }
  }
  return best;
}

/** What is known of a point, in the order in which it is read. */
export function describePoint(model, i) {
  const { points } = model, tensor = model.tensors[points.tensor[i]];
  return {
    model: model.key, tensor: tensor.name, role: tensor.role, layer: tensor.layer,
    row: points.file_rows[i], column: points.file_cols[i], value: points.values[i], dna: points.rebuilt[i],
  };
}
