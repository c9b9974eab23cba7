/** Panning and zooming with mouse, wheel, pen and fingers. */

const CLICK = 5; // pixels that a click may move

/** @param actions `click(x)` and `hover(x)`; `x` in pixels of the canvas, null when the pointer leaves */
export function follow(canvas, view, { click, hover }) {
  const down = new Map(); // pointers by their id
  let moved = 0;
  const at = (event) => ({ x: event.offsetX, y: event.offsetY });
  const spread = () => {
    const [one, other] = down.values();
    return { middle: (one.x + other.x) / 2, distance: Math.hypot(one.x - other.x, one.y - other.y) };
  };

  canvas.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    canvas.setPointerCapture(event.pointerId);
    if (!down.size) moved = 0;
    down.set(event.pointerId, at(event));
  });
  canvas.addEventListener("pointermove", (event) => {
    const before = down.get(event.pointerId);
    if (!before) {
      hover(event.offsetX);
      return;
    }
    const pinched = down.size === 2 && spread();
    down.set(event.pointerId, at(event));
    moved += Math.abs(event.offsetX - before.x);
    if (pinched) {
      const now = spread();
      view.pan(pinched.middle - now.middle);
      view.zoom(now.distance / Math.max(pinched.distance, 1), now.middle);
      moved = Infinity;
    } else if (moved > CLICK) view.pan(before.x - event.offsetX);
  });
  canvas.addEventListener("pointerup", (event) => {
    if (down.delete(event.pointerId) && !down.size && moved <= CLICK) click(event.offsetX);
  });
  canvas.addEventListener("pointercancel", (event) => down.delete(event.pointerId));
  canvas.addEventListener("pointerleave", () => hover(null));
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    const unit = event.deltaMode === 1 ? 24 : 1; // lines or pixels
    const sideways = event.shiftKey ? event.deltaY || event.deltaX : event.deltaX;
    if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) view.pan(unit * sideways);
    else view.zoom(Math.exp(-unit * event.deltaY * (event.ctrlKey ? 0.01 : 0.0015)), event.offsetX);
  }, { passive: false });
}
