// The picked matrix: its frequencies beside their null, its picture, its numbers.

const SVG = "http://www.w3.org/2000/svg";

/** An element with attributes and children; text is always text. */
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children);
  return made;
}

function shape(name, attributes, text = "") {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.textContent = text;
  return made;
}

/** Energy in each band over what its null has on average, with two standard deviations of the null in grey. */
export function spectrumChart(tensor, edges) {
  const width = 260, height = 120, left = 30, bottom = 24;
  const made = shape("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", class: "spectrum" });
  if (!tensor.bands.length || tensor.bands.some((band) => band.value === null || !band.null)) {
    return element("p", { class: "quiet" }, "Its frequencies were not measured.");
  }
  const ratios = tensor.bands.map((band) => band.value / band.null), spreads = tensor.bands.map((band) => (2 * (band.spread ?? 0)) / band.null);
  const top = Math.max(1.2, ...ratios, ...spreads.map((each) => 1 + each)) * 1.05;
  const x = (i) => left + ((width - left - 6) * (i + 0.5)) / ratios.length, y = (value) => (height - bottom) * (1 - value / top) + 4;
  const step = (width - left - 6) / ratios.length;
  made.setAttribute("aria-label", spectrumWords(tensor, ratios, spreads));
  ratios.forEach((ratio, i) => {
    const low = y(Math.max(0, 1 - spreads[i])), high = y(1 + spreads[i]);
    made.append(shape("rect", { x: x(i) - step / 2, y: high, width: step, height: Math.max(1, low - high), class: "null" }));
    made.append(shape("circle", { cx: x(i), cy: y(ratio), r: 3, class: "measured" }));
  });
  made.append(shape("line", { x1: left, x2: width - 6, y1: y(1), y2: y(1), class: "axis" }));
  for (const value of [0, 1, Math.floor(top)].filter((each, i, all) => all.indexOf(each) === i)) made.append(shape("text", { x: left - 4, y: y(value) + 3, class: "end" }, `${value}`));
  made.append(shape("text", { x: left, y: height - 4 }, "low"), shape("text", { x: width - 6, y: height - 4, class: "end" }, "high frequency"));
  return made;
}

function spectrumWords(tensor, ratios, spreads) {
  const beyond = ratios.filter((ratio, i) => Math.abs(ratio - 1) > spreads[i]).length;
  return `Energy in ${ratios.length} bands of frequency over its null's mean, the lowest band ${ratios[0].toFixed(2)} times; ${beyond} are more than two standard deviations of the null away.`;
}

/** A picture of block means on a canvas; the map is symmetric about zero. */
export function heatMap(picture, decoded, palette, label) {
  const canvas = element("canvas", { width: picture.cols, height: picture.rows, role: "img", "aria-label": label, class: "heat" });
  const context = canvas.getContext("2d"), image = context.createImageData(picture.cols, picture.rows);
  decoded.forEach((step, i) => {
    const hex = palette[Math.max(0, Math.min(255, step))];
    image.data.set([1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16)).concat(255), 4 * i);
  });
  context.putImageData(image, 0, 0);
  return canvas;
}

export function number(value, digits = 4) {
  return value === null || value === undefined ? "-" : Number(value).toPrecision(digits).replace(/\.?0+(?=e|$)/, "");
}

/** Rows of two cells. */
export function factsTable(caption, rows) {
  return element("table", {}, element("caption", {}, caption), element("tbody", {},
    ...rows.map(([name, value]) => element("tr", {}, element("th", { scope: "row" }, name), element("td", {}, element("bdi", {}, `${value}`))))));
}
