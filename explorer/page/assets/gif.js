// GIF89a, written by hand: 256 colours in a cube of 6 x 7 x 6 and greys, LZW as the format's specification has it.

const LEVELS = [6, 7, 6];

/** A GIF that repeats for ever. `frames`: RGBA arrays of width * height * 4; `delay`: hundredths of a second. */
export function encodeGif(frames, width, height, delay) {
  const out = [];
  const short = (value) => out.push(value & 255, value >> 8);
  const text = (value) => out.push(...new TextEncoder().encode(value));
  text("GIF89a"); short(width); short(height); out.push(0xf7, 0, 0);
  for (const colour of paletteOf()) out.push(...colour);
  out.push(0x21, 0xff, 11); text("NETSCAPE2.0"); out.push(3, 1, 0, 0, 0);
  for (const frame of frames) {
    out.push(0x21, 0xf9, 4, 4); short(delay); out.push(0, 0);
    out.push(0x2c); short(0); short(0); short(width); short(height); out.push(0);
    writeBlocks(out, compress(indices(frame)));
  }
  out.push(0x3b);
  return Uint8Array.from(out);
}

function paletteOf() {
  const [r, g, b] = LEVELS, found = [];
  for (let i = 0; i < r; i++) for (let j = 0; j < g; j++) for (let k = 0; k < b; k++) found.push([scale(i, r), scale(j, g), scale(k, b)]);
  return [...found, ...Array.from({ length: 256 - found.length }, () => [0, 0, 0])];
}

function scale(step, count) {
  return Math.round((255 * step) / (count - 1));
}

function indices(rgba) {
  const [r, g, b] = LEVELS, found = new Uint8Array(rgba.length / 4);
  const nearest = (value, count) => Math.round((value * (count - 1)) / 255);
  for (let i = 0, at = 0; i < found.length; i++, at += 4) found[i] = (nearest(rgba[at], r) * g + nearest(rgba[at + 1], g)) * b + nearest(rgba[at + 2], b);
  return found;
}

/** LZW codes of 8-bit symbols, packed from the lowest bit on. */
export function compress(symbols) {
  const bytes = [], CLEAR = 256, END = 257;
  let bits = 0, held = 0, size = 9, next = 258, table = new Map();
  const write = (code) => {
    held |= code << bits; bits += size;
    while (bits >= 8) { bytes.push(held & 255); held >>>= 8; bits -= 8; }
  };
  write(CLEAR);
  let prefix = symbols[0];
  for (let i = 1; i < symbols.length; i++) {
    const key = (prefix << 8) | symbols[i], known = table.get(key);
    if (known !== undefined) { prefix = known; continue; }
    write(prefix);
    if (next < 4096) {
      table.set(key, next++);
      if (next > 1 << size && size < 12) size++;
    } else {
      write(CLEAR); table = new Map(); next = 258; size = 9;
    }
    prefix = symbols[i];
  }
  write(prefix); write(END);
  if (bits) bytes.push(held & 255);
  return bytes;
}

function writeBlocks(out, bytes) {
  out.push(8);
  for (let at = 0; at < bytes.length; at += 255) {
    const block = bytes.slice(at, at + 255);
    out.push(block.length, ...block);
  }
  out.push(0);
}
