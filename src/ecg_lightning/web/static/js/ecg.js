/** The main picture: all leads on paper, with the beats of the model and of the reference above them. */

import { NONE } from "./beats.js";
import { fitted } from "./dom.js";
import { lowerBound, nearest, quantiles } from "./numbers.js";
import { FONT, classColour, colours } from "./theme.js";
import { FACTOR } from "./tiles.js";
import { MM } from "./view.js";
import { fixed } from "./words.js";

const ROW = 17; // pixels of a row of marks
const AXIS = 20; // pixels below the leads
const LETTERS = 14; // pixels per second from which beats have letters
export const STEPS = [0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600];

/** Seconds between labels of a time axis. */
export const labelStep = (pps) => STEPS.find((step) => step * pps >= 92) ?? STEPS.at(-1);

export class Ecg {
  constructor(canvas, app) {
    Object.assign(this, { canvas, app, hovered: -1 });
  }

  get rows() {
    const reference = this.app.beats?.reference;
    return 1 + (reference ? 1 + (reference.notes.length > 0) : 0);
  }

  draw() {
    const { app, canvas } = this, { view, tiles, state } = app;
    this.top = 8 + ROW * this.rows;
    this.bottom = canvas.clientHeight - AXIS;
    view.resize(canvas.clientWidth, this.bottom - this.top);
    this.context = fitted(canvas);
    if (!state) return;
    this.grid();
    this.unusable();
    this.marks();
    tiles.begin();
    this.context.save();
    this.context.beginPath();
    this.context.rect(0, this.top, view.width, this.bottom - this.top);
    this.context.clip();
    const height = (this.bottom - this.top) / state.leads.length;
    state.leads.forEach((name, lead) => this.lead(lead, name, height));
    this.context.restore();
    this.cursor();
    tiles.load();
  }

  /** Millimetres are drawn where they are apart; the axis has a label each few centimetres. */
  grid() {
    const { context, top, bottom } = this, { view, state } = this.app;
    const hair = 1 / devicePixelRatio;
    const lines = (seconds, mv, colour) => {
      context.fillStyle = colour;
      for (let n = Math.ceil(view.start / seconds - 1e-9); n * seconds <= view.stop; n++) {
        context.fillRect(this.crisp(view.x(n * seconds)), top, hair, bottom - top);
      }
      for (let y = top; y <= bottom; y += mv) context.fillRect(0, this.crisp(y), view.width, hair);
    };
    const small = 0.04 * view.pps, mv = view.gain * MM;
    const step = labelStep(view.pps);
    if (small >= 3) lines(0.04, mv >= 30 ? mv / 10 : Infinity, colours["ecg-fine"]);
    if (5 * small >= 4) lines(0.2, mv >= 8 ? mv / 2 : Infinity, colours["ecg-grid"]);
    else lines(step, Infinity, colours["ecg-grid"]);
    context.font = `11px ${FONT}`;
    context.fillStyle = colours.muted;
    context.textAlign = "center";
    context.textBaseline = "alphabetic";
    for (let n = Math.ceil(view.start / step); n * step <= Math.min(view.stop, state.duration_s); n++) {
      const x = view.x(n * step), label = this.app.clock(n * step, step < 1 ? 1 : 0).split(" ")[0];
      context.fillText(label, Math.min(Math.max(x, 28), view.width - 28), bottom + 14);
    }
  }

  unusable() {
    const { context, top, bottom } = this, { view, state } = this.app;
    context.globalAlpha = 0.18;
    context.fillStyle = colours.muted;
    for (const [start, stop] of state.unusable) {
      const isSeen = stop > view.start && start < view.stop;
      if (isSeen) context.fillRect(view.x(start), top, (stop - start) * view.pps, bottom - top);
    }
    context.globalAlpha = 1;
  }

  /** The pixel of the screen that is nearest. */
  crisp(value) {
    return Math.round(value * devicePixelRatio) / devicePixelRatio;
  }

  /** Baselines lie on the grid, so that one grid serves all leads. */
  baseline(lead, height) {
    const half = (this.app.view.gain * MM) / 2;
    return this.top + Math.round(((lead + 0.5) * height) / half) * half;
  }

  /** What is drawn on the baseline: the median of the lead's coarsest blocks. */
  offset(lead) {
    const { tiles } = this.app;
    const tile = tiles.finest(tiles.levels - 1, 0);
    if (!tile) return 0;
    tile.offsets ??= [];
    if (tile.offsets[lead] === undefined) {
      const size = tile.blocks * tile.ends;
      [tile.offsets[lead]] = quantiles(tile.values.subarray(lead * size, (lead + 1) * size), 0.5);
    }
    return tile.offsets[lead];
  }

  lead(lead, name, height) {
    const { context } = this, { view, tiles, state } = this.app;
    const perPixel = tiles.fs / (view.pps * devicePixelRatio);
    const finest = perPixel < Math.min(6, 30 / tiles.leads);
    const level = finest ? 0 : Math.min(tiles.levels - 1, Math.floor(Math.log(perPixel) / Math.log(FACTOR)));
    const scale = view.gain * MM, zero = this.baseline(lead, height) + this.offset(lead) * scale;
    const isUsed = !state.used_leads.length || state.used_leads.includes(name);
    context.fillStyle = context.strokeStyle = isUsed ? colours.trace : colours.muted;
    context.beginPath();
    this.isDown = false;
    this.last = null;
    const from = Math.floor(view.start * tiles.fs) - 1, to = Math.ceil(view.stop * tiles.fs) + 1;
    for (const piece of tiles.pieces(level, from, to)) {
      if (piece.tile.ends === 1) this.line(piece, lead, zero, scale);
      else this.envelope(piece, lead, zero, scale);
    }
    context.globalAlpha = 1;
    context.lineWidth = 1; // wider lines take twice as long where there is no graphics card
    context.lineJoin = "bevel";
    context.stroke();
    this.calibration(lead, name, isUsed ? colours.ink : colours.muted, height, scale);
  }

  /** The lead's name, and 1 mV. */
  calibration(lead, name, colour, height, scale) {
    const { context } = this, base = this.baseline(lead, height);
    const y = Math.max(lead * height + this.top + 13, Math.min(base - scale - 8, base - 0.3 * height));
    context.font = `600 12px ${FONT}`;
    context.textAlign = "left";
    context.lineWidth = 4;
    context.strokeStyle = colours.surface;
    context.strokeText(name, 12, y);
    context.fillStyle = colour;
    context.fillText(name, 12, y);
    context.lineWidth = 2;
    context.strokeStyle = colours.ink;
    context.beginPath();
    context.moveTo(5, base);
    context.lineTo(5, base - scale);
    context.stroke();
  }

  to(x, y) {
    if (this.isDown) this.context.lineTo(x, y);
    else this.context.moveTo(x, y);
    this.isDown = true;
  }

  /** Every sample. */
  line({ tile, from, to }, lead, zero, scale) {
    const { view, tiles } = this.app, step = view.pps / tiles.fs, row = lead * tile.blocks - tile.from;
    this.last = null;
    const stop = Math.min(to + 1, tile.from + tile.blocks);
    for (let at = Math.max(from, tile.from); at < stop; at++) {
      const value = tile.values[row + at];
      if (Number.isNaN(value)) this.isDown = false;
      else this.to(at * step - view.start * view.pps, zero - value * scale);
    }
  }

  /** The lowest and highest value of each pixel; as rectangles, which are drawn much faster than lines. */
  envelope({ tile, from, to }, lead, zero, scale) {
    const { view, tiles } = this.app, step = (view.pps / tiles.fs) * tile.size, column = 1 / devicePixelRatio;
    const first = Math.max(0, Math.floor((from - tile.from) / tile.size));
    const stop = Math.min(tile.blocks, Math.ceil((to - tile.from) / tile.size));
    this.isDown = false;
    this.context.globalAlpha = step > 2 ? 0.15 : 0.75; // faint until finer blocks come
    const row = 2 * lead * tile.blocks, begin = view.x((tile.from + first * tile.size) / tiles.fs);
    for (let block = first; block < stop;) {
      const left = Math.floor((begin + (block - first) * step) / column) * column;
      let low = Infinity, high = -Infinity;
      const next = Math.max(block + 1, Math.min(stop, first + Math.ceil((left + column - begin) / step)));
      for (; block < next; block++) {
        const least = tile.values[row + 2 * block], most = tile.values[row + 2 * block + 1];
        if (least < low) low = least;
        if (most > high) high = most;
      }
      this.column(left, Math.max(step, column), zero - high * scale, zero - low * scale);
    }
  }

  /** A rectangle that touches the one before it; without values a gap. */
  column(left, width, top, bottom) {
    if (top > bottom) {
      this.last = null;
      return;
    }
    const from = Math.min(top, this.last?.bottom ?? top), to = Math.max(bottom, this.last?.top ?? bottom);
    this.context.fillRect(left, Math.round(from), width, Math.max(1, Math.round(to - from)));
    this.last = { top, bottom };
  }

  marks() {
    const { beats, view } = this.app, { context } = this;
    if (!beats) return;
    context.textAlign = "center";
    context.textBaseline = "middle";
    if (view.pps >= LETTERS) this.letters();
    else this.ticks();
    if (beats.reference) this.notes();
  }

  letters() {
    const { beats, view } = this.app, place = this.app.place;
    const last = lowerBound(beats.times, view.stop + 10 / view.pps);
    for (let at = lowerBound(beats.times, view.start - 10 / view.pps); at < last; at++) this.letter(at, at === place);
    if (!beats.reference) return;
    const { time_s: times, class: classes, symbol } = beats.reference;
    const lastReference = lowerBound(times, view.stop);
    for (let at = lowerBound(times, view.start); at < lastReference; at++) {
      const x = view.x(times[at]);
      if (beats.missed.has(at)) this.box(x, ROW, 2 * ROW + 1);
      this.text(beats.reference.symbols[symbol[at]], x, 1.5 * ROW + 2, classColour(classes[at]), "500");
    }
  }

  letter(at, isSelected) {
    const { context, top, bottom } = this, { beats, view } = this.app;
    const x = view.x(beats.times[at]), own = beats.classes[at], colour = classColour(own);
    const isEctopic = own > 0 || own === NONE;
    if (isEctopic || isSelected) {
      context.globalAlpha = isSelected ? 0.15 : 0.09;
      context.fillStyle = isSelected ? colours.accent : colour;
      context.fillRect(x - 0.16 * view.pps, top, 0.32 * view.pps, bottom - top);
      context.globalAlpha = 1;
    }
    if (beats.wrong[at]) this.box(x, 0, (beats.referenceAt[at] >= 0 ? 2 : 1) * ROW + 1);
    if (isSelected) {
      context.fillStyle = colour;
      context.beginPath();
      context.roundRect(x - 8, 2, 16, ROW - 2, 3);
      context.fill();
    }
    const letter = own === NONE ? "×" : beats.names[own];
    this.text(letter, x, ROW / 2 + 2, isSelected ? colours.surface : colour, isEctopic ? "700" : "500");
    if (beats.changes.has(beats.keys[at])) {
      context.fillStyle = colours.ink;
      context.fillRect(x - 5, ROW, 10, 1.5);
    }
    if ((isSelected || at === this.hovered) && beats.keys[at] >= 0) {
      const sure = fixed(beats.found.confidence[beats.keys[at]], 2);
      this.text(sure, x + 10, ROW / 2 + 2, colours.ink, "500", "left");
    }
  }

  text(text, x, y, colour, weight, align = "center") {
    const { context } = this;
    context.font = `${weight} 12px ${FONT}`;
    context.textAlign = align;
    if (align === "left") {
      context.lineWidth = 4;
      context.strokeStyle = colours.surface;
      context.strokeText(text, x, y);
    }
    context.fillStyle = colour;
    context.fillText(text, x, y);
    context.textAlign = "center";
  }

  /** Around marks on which model and reference disagree. */
  box(x, from, to) {
    const { context } = this;
    context.strokeStyle = colours.warn;
    context.lineWidth = 1.5;
    context.strokeRect(x - 8, from + 1.5, 16, to - from - 1);
  }

  /** From afar every class but the first has a line of ticks, darker where there are more. */
  ticks() {
    const { context } = this, { beats, view } = this.app;
    const height = (ROW * (beats.reference ? 2 : 1)) / Math.max(beats.names.length - 1, 1);
    const tick = (own, x, opacity) => {
      context.globalAlpha = opacity;
      context.fillRect(x, 3 + (own - 1) * height, Math.max(1, 1.5 / devicePixelRatio), height - 1);
    };
    if (view.pps >= 1) {
      const last = lowerBound(beats.times, view.stop);
      for (let at = lowerBound(beats.times, view.start); at < last; at++) {
        if (beats.classes[at] <= 0) continue;
        context.fillStyle = classColour(beats.classes[at]);
        tick(beats.classes[at], view.x(beats.times[at]), 1);
      }
    } else {
      for (let own = 1; own < beats.names.length; own++) {
        context.fillStyle = classColour(own);
        for (let x = 0; x < view.width; x++) {
          const n = beats.between(own, view.time(x), view.time(x + 1));
          if (n) tick(own, x, Math.min(1, 0.35 + (n * view.pps) / 0.8));
        }
      }
    }
    context.globalAlpha = 1;
  }

  notes() {
    const { beats, view } = this.app, { notes } = beats.reference;
    let free = -Infinity;
    this.context.font = `500 11px ${FONT}`;
    for (const { time_s: time, symbol, note } of notes) {
      const x = view.x(time), text = note || symbol;
      if (x < 0 || x > view.width || x < free) continue;
      this.text(text, x, 2.5 * ROW + 3, colours.muted, "500", "left");
      free = x + 6 + this.context.measureText(text).width;
    }
  }

  cursor() {
    const { context, top, bottom } = this, { view } = this.app, cursor = this.app.pointer ?? this.app.cursor;
    if (cursor === null || cursor < view.start || cursor > view.stop) return;
    context.strokeStyle = colours.accent;
    context.lineWidth = 1;
    context.setLineDash([3, 3]);
    context.beginPath();
    context.moveTo(this.crisp(view.x(cursor)), top);
    context.lineTo(this.crisp(view.x(cursor)), bottom);
    context.stroke();
    context.setLineDash([]);
  }

  /** Place of the beat that is at most 16 pixels from `x`; -1 if there is none. */
  beatAt(x) {
    const { beats, view } = this.app;
    if (!beats || view.pps < LETTERS) return -1;
    const place = nearest(beats.times, view.time(x));
    return place >= 0 && Math.abs(view.x(beats.times[place]) - x) <= 16 ? place : -1;
  }
}
