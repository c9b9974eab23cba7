/** What of a recording is in sight: its first second, pixels per second (of time) and per mV. */

export const MM = 96 / 25.4; // CSS pixels of a millimetre
export const PAPER = 25 * MM; // pixels per second of ECG paper
const GAINS = [1, 2.5, 5, 10, 20, 40, 80]; // mm per mV
const NEAREST = 3000; // pixels per second

export class View {
  constructor(changed) {
    this.changed = changed;
    Object.assign(this, { width: 1000, height: 500 });
    this.reset(0, 1);
  }

  /** A new recording, at the gain of paper unless its leads would overlap. */
  reset(duration, leads, start = 0, pps = PAPER) {
    const gain = GAINS.findLast((one) => one <= 10 && 2.4 * one * MM <= this.height / leads) ?? GAINS[0];
    Object.assign(this, { duration, start, pps, gain });
    this.clamp();
  }

  get span() {
    return this.width / this.pps;
  }

  get stop() {
    return this.start + this.span;
  }

  get speed() {
    return this.pps / MM; // mm per second
  }

  x(time) {
    return (time - this.start) * this.pps;
  }

  time(x) {
    return this.start + x / this.pps;
  }

  clamp() {
    const farthest = Math.min(PAPER, this.width / (this.duration || 1));
    this.pps = Math.min(Math.max(this.pps, farthest), NEAREST);
    this.start = Math.max(0, Math.min(this.start, this.duration - this.span));
    this.changed();
  }

  resize(width, height) {
    if (height) this.height = height;
    if (width === this.width || !width) return;
    this.width = width;
    this.clamp();
  }

  to(start) {
    this.start = start;
    this.clamp();
  }

  pan(pixels) {
    this.to(this.start + pixels / this.pps);
  }

  /** Zoom so that what is at `x` stays there. */
  zoom(factor, x = this.width / 2) {
    const time = this.time(x);
    this.pps *= factor;
    this.clamp();
    this.to(time - x / this.pps);
  }

  /** Move only if the time is not well in sight. */
  show(time) {
    if (time < this.start + 0.1 * this.span || time > this.stop - 0.1 * this.span) this.to(time - this.span / 2);
  }

  amplify(steps) {
    const at = GAINS.indexOf(this.gain) + steps;
    this.gain = GAINS[Math.min(Math.max(at, 0), GAINS.length - 1)];
    this.changed();
  }
}
