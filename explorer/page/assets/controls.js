// Drag, wheel, touch and keys on the canvas: each asks for another state of the camera.

import { pan, turn, zoom } from "./camera.js";

const KEYS = {
  ArrowLeft: (s) => turn(s, -0.1, 0), ArrowRight: (s) => turn(s, 0.1, 0), ArrowUp: (s) => turn(s, 0, 0.1), ArrowDown: (s) => turn(s, 0, -0.1),
  "+": (s) => zoom(s, 0.9), "=": (s) => zoom(s, 0.9), "-": (s) => zoom(s, 1 / 0.9),
};
const MOVES = { ArrowLeft: [0.05, 0], ArrowRight: [-0.05, 0], ArrowUp: [0, 0.05], ArrowDown: [0, -0.05] };

/**
 * `change(camera => camera)` is called with what to do to the state; `hover(x, y)` and `click(x, y)` with pixels of the
 * page from the canvas's corner; `key(name)` with a key that is not the camera's, and says whether it did something.
 */
export function listen(canvas, { change, hover, click, key }) {
  const pointers = new Map();
  let moved = 0;
  const height = () => canvas.clientHeight || 1;
  const place = (event) => { const box = canvas.getBoundingClientRect(); return [event.clientX - box.left, event.clientY - box.top]; };

  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    pointers.set(event.pointerId, [event.clientX, event.clientY]);
    moved = 0;
  });
  canvas.addEventListener("pointermove", (event) => {
    const before = pointers.get(event.pointerId);
    if (!before) { if (event.pointerType === "mouse") hover(...place(event)); return; }
    const [dx, dy] = [(event.clientX - before[0]) / height(), (event.clientY - before[1]) / height()];
    const others = [...pointers].filter(([id]) => id !== event.pointerId).map(([, at]) => at);
    pointers.set(event.pointerId, [event.clientX, event.clientY]);
    moved += Math.abs(dx) + Math.abs(dy);
    if (others.length) {
      const far = (at) => Math.hypot(at[0] - others[0][0], at[1] - others[0][1]) || 1;
      change((s) => pan(zoom(s, far(before) / far([event.clientX, event.clientY])), dx / 2, dy / 2));
    } else if (event.shiftKey || event.buttons === 2) change((s) => pan(s, dx, dy));
    else change((s) => turn(s, 4 * dx, 4 * dy));
  });
  const release = (event) => {
    if (pointers.delete(event.pointerId) && event.type === "pointerup" && moved < 0.01) click(...place(event));
  };
  canvas.addEventListener("pointerup", release);
  canvas.addEventListener("pointercancel", release);
  canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    const lines = event.deltaMode === 1 ? 16 : 1;
    change((s) => zoom(s, Math.exp(Math.max(-0.5, Math.min(0.5, event.deltaY * lines * 0.0015)))));
  }, { passive: false });
  canvas.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const known = event.shiftKey && MOVES[event.key] ? (s) => pan(s, ...MOVES[event.key]) : KEYS[event.key];
    if (known) change(known);
    else if (!key(event.key)) return;
    event.preventDefault();
  });
}
