/** The whole recording in one strip: one lead, heart rate, ectopic beats, unusable stretches, and what is in sight. */

import { NONE } from "./beats.js";
import { fitted } from "./dom.js";
import { labelStep } from "./ecg.js";
import { lowerBound, quantiles } from "./numbers.js";
import { FONT, classColour, colours } from "./theme.js";
import { plural } from "./words.js";

const AXIS = 15, ECTOPY = 16, RATE = 30; // pixels of its rows
const GRIP = 14; // least pixels of the frame that can be held

export class Overview {
  constructor(canvas, app) {
    Object.assign(this, { canvas, app, still: document.createElement("canvas"), isFresh: false });
    let held = null;
    const time = (event) => (event.offsetX / canvas.clientWidth) * app.state.duration_s;
    canvas.addEventListener("pointerdown", (event) => {
      if (!app.state) return;
      canvas.setPointerCapture(event.pointerId);
      const [from, to] = this.frame();
      const inside = event.offsetX >= from && event.offsetX <= to;
      held = inside ? time(event) - app.view.start : app.view.span / 2;
      app.view.to(time(event) - held);
    });
    canvas.addEventListener("pointermove", (event) => held !== null && app.view.to(time(event) - held));
    for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => (held = null));
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      app.view.zoom(Math.exp(-event.deltaY * 0.0015));
    }, { passive: false });
  }

  /** First and last pixel of what is in sight, with a margin if it is narrow. */
  frame() {
    const { view, state } = this.app, scale = this.canvas.clientWidth / state.duration_s;
    const middle = (view.start + view.span / 2) * scale, half = Math.max(view.span * scale, GRIP) / 2;
    return [middle - half, middle + half];
  }

  draw() {
    const { canvas, app } = this, { view, state } = app;
    const context = fitted(canvas);
    if (!state) return;
    const tile = app.tiles.finest(app.tiles.levels - 1, 0), size = `${canvas.width} ${canvas.height}`;
    if (!this.isFresh || tile !== this.tile || size !== this.size) {
      Object.assign(this, { isFresh: true, tile, size });
      this.drawStill();
    }
    const width = canvas.clientWidth, height = canvas.clientHeight, scale = width / state.duration_s;
    context.drawImage(this.still, 0, 0, width, height);
    const x = view.start * scale, span = Math.max(2, Math.min(view.span * scale, width - x));
    context.fillStyle = colours.accent;
    context.globalAlpha = 0.16;
    context.fillRect(x, 0, span, height - AXIS);
    context.globalAlpha = 1;
    context.strokeStyle = colours.accent;
    context.lineWidth = 1.5;
    context.strokeRect(x + 0.75, 0.75, Math.max(span - 1.5, 0.5), height - AXIS - 1.5);
    const ends = [view.start, Math.min(view.stop, state.duration_s)].map((time) => app.clock(time));
    canvas.setAttribute("aria-valuemax", Math.round(state.duration_s));
    canvas.setAttribute("aria-valuenow", Math.round(view.start));
    canvas.setAttribute("aria-valuetext", `${ends[0]} to ${ends[1]}`);
  }

  drawStill() {
    const { canvas, still, app } = this, { state, tiles, beats } = app;
    still.width = canvas.width;
    still.height = canvas.height;
    const context = still.getContext("2d"), width = canvas.clientWidth, height = canvas.clientHeight;
    context.scale(devicePixelRatio, devicePixelRatio);
    const scale = width / state.duration_s, floor = height - AXIS;
    const signal = { top: 2, bottom: floor - (beats ? ECTOPY + RATE : 0) - 2 };
    if (this.tile) this.envelope(context, this.tile, signal, (width * this.tile.size) / tiles.samples);
    context.globalAlpha = 0.2;
    context.fillStyle = colours.muted;
    for (const [start, stop] of state.unusable) {
      context.fillRect(start * scale, 0, Math.max(1, (stop - start) * scale), floor);
    }
    context.globalAlpha = 1;
    if (beats) {
      this.ectopy(context, beats, floor, width);
      this.rate(context, beats, { top: floor - ECTOPY - RATE + 2, bottom: floor - ECTOPY - 2 }, width);
    }
    context.fillStyle = colours.warn;
    for (const event of app.events) {
      if (event.kind === "pause" || event.kind === "run") context.fillRect(event.start_s * scale - 0.5, 0, 2, 5);
    }
    context.font = `10.5px ${FONT}`;
    context.fillStyle = colours.muted;
    context.textAlign = "center";
    const step = labelStep(scale);
    for (let time = 0; time <= state.duration_s; time += step) {
      context.fillText(app.clock(time).split(" ")[0], Math.min(Math.max(time * scale, 24), width - 24), height - 3);
    }
  }

  envelope(context, { values, blocks, ends }, { top, bottom }, step) {
    const { leads, used_leads: used } = this.app.state;
    const lead = Math.max(0, leads.indexOf(used[0]));
    const own = values.subarray(lead * blocks * ends, (lead + 1) * blocks * ends);
    const [low, high] = quantiles(own, 0.005, 0.995);
    const y = (value) => bottom - ((Math.min(Math.max(value, low), high) - low) / (high - low || 1)) * (bottom - top);
    context.fillStyle = colours.muted;
    for (let at = 0; at < blocks; at++) {
      const least = own[at * ends], most = own[at * ends + ends - 1];
      if (Number.isNaN(least)) continue;
      context.fillRect(at * step, y(most), Math.max(step, 0.7), Math.max(0.7, y(least) - y(most)));
    }
  }

  /** Share of ectopic beats of each pixel, classes over each other. */
  ectopy(context, beats, floor, width) {
    const scale = this.app.state.duration_s / width;
    for (let x = 0; x < width; x++) {
      const start = x * scale, stop = start + Math.max(scale, 1);
      const counts = beats.names.map((_, own) => beats.between(own, start, stop));
      const all = counts.reduce((sum, n) => sum + n, 0);
      let y = floor;
      for (let own = 1; own < counts.length; own++) {
        if (!counts[own]) continue;
        const part = Math.max(1.5, (counts[own] / all) * (ECTOPY - 2));
        context.fillStyle = classColour(own);
        context.fillRect(x, y - part, 1, part);
        y -= part;
      }
    }
  }

  rate(context, beats, { top, bottom }, width) {
    const { times, rates } = heartRate(beats, this.app.state.duration_s, width / 2);
    const [least, most] = quantiles(rates.filter((rate) => rate !== null), 0, 1);
    if (!most) return;
    const low = Math.floor(least / 10) * 10, high = Math.max(low + 20, Math.ceil(most / 10) * 10);
    context.beginPath();
    let isDown = false;
    times.forEach((time, at) => {
      if (rates[at] === null) {
        isDown = false;
        return;
      }
      const x = (time / this.app.state.duration_s) * width;
      const y = bottom - ((rates[at] - low) / (high - low)) * (bottom - top);
      if (isDown) context.lineTo(x, y);
      else context.moveTo(x, y);
      isDown = true;
    });
    context.strokeStyle = colours.accent;
    context.lineWidth = 1.3;
    context.lineJoin = "round";
    context.stroke();
    context.font = `10px ${FONT}`;
    context.textAlign = "left";
    for (const [label, y] of [[`${high}/min`, top + 7], [`${low}`, bottom]]) {
      context.lineWidth = 3;
      context.strokeStyle = colours.surface;
      context.strokeText(label, 3, y);
      context.fillStyle = colours.muted;
      context.fillText(label, 3, y);
    }
  }
}

/** Mean heart rate of equal parts of the recording, by the RR intervals that end in each; null where there is none. */
export function heartRate(beats, duration, parts) {
  const n = Math.max(1, Math.min(Math.floor(parts), Math.floor(duration / 4)));
  const sums = new Float64Array(n), counts = new Uint32Array(n);
  let before = -1;
  for (let at = 0; at < beats.times.length; at++) {
    if (beats.classes[at] === NONE) continue;
    const rr = before < 0 ? NaN : beats.times[at] - beats.times[before];
    if (rr < 4 && !beats.flagged(beats.keys[at]) && !beats.flagged(beats.keys[before])) {
      const part = Math.min(n - 1, Math.floor((beats.times[at] / duration) * n));
      sums[part] += rr;
      counts[part]++;
    }
    before = at;
  }
  const times = [...sums].map((_, at) => ((at + 0.5) * duration) / n);
  return { times, rates: [...sums].map((sum, at) => (counts[at] ? (60 * counts[at]) / sum : null)) };
}

/** The whole picture in words. */
export function inWords(app) {
  const { state, beats, view } = app, leads = plural(state.leads.length, "lead");
  const from = app.clock(view.start), to = app.clock(Math.min(view.stop, state.duration_s));
  if (!beats) return `ECG, ${leads}, ${from} to ${to}`;
  const shown = beats.classes.subarray(lowerBound(beats.times, view.start), lowerBound(beats.times, view.stop));
  const counts = beats.names.map((name, own) => [shown.filter((one) => one === own).length, name]);
  const words = counts.filter(([n]) => n).map(([n, name]) => `${n} ${name}`).join(", ");
  return `ECG, ${leads}, ${from} to ${to}, beats: ${words || "none"}`;
}
