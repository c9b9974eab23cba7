/** The beats of a recording, what users correct of them, and the reference beside them. */

import { unpacked } from "./api.js";
import { recall, remember } from "./dom.js";
import { lowerBound, nearest } from "./numbers.js";

export const NONE = -1; // class of what is no beat
const SAME_S = 0.15; // between an added beat and the reference's

/**
 * A beat has a key: its place in the server's table, or `-1 - sample` if a user added it. `times`, `classes` and `keys`
 * are those of all beats in order of time, with the corrections.
 */
export class Beats {
  constructor(answer, draft) {
    this.draft = draft; // name of what is kept in the browser until it is saved
    this.names = answer.classes;
    this.fs = answer.fs;
    this.found = unpacked(answer.columns);
    const doubtful = answer.flags.map((flags) => /no signal|gap|noisy/.test(flags));
    this.flagged = (key) => key >= 0 && doubtful[this.found.flag[key]];
    this.flagsOf = (key) => (key >= 0 ? answer.flags[this.found.flag[key]] : "added");
    const value = (name) => this.names.indexOf(name); // of null it is NONE
    this.saved = new Map([
      ...Object.entries(answer.saved.classes).map(([place, name]) => [+place, value(name)]),
      ...answer.saved.added.map(([sample, name]) => [-1 - sample, value(name)]),
    ]);
    this.changes = new Map(this.draftOr(this.saved));
    this.history = [];
    this.done = 0;
    this.reference = null;
    this.rebuild();
  }

  draftOr(saved) {
    try {
      const kept = JSON.parse(recall(this.draft));
      const n = this.names.length, all = this.found.class.length;
      return kept.every(([key, value]) => key < all && value >= NONE && value < n) ? kept : saved;
    } catch {
      return saved;
    }
  }

  /** How many beats differ from what is saved. */
  get unsaved() {
    const keys = new Set([...this.changes.keys(), ...this.saved.keys()]);
    return [...keys].filter((key) => this.changes.get(key) !== this.saved.get(key)).length;
  }

  /** The corrections as the server takes them. */
  get corrections() {
    const classes = {}, added = [];
    for (const [key, value] of this.changes) {
      const name = value === NONE ? null : this.names[value];
      if (key < 0) added.push([-1 - key, name]);
      else classes[key] = name;
    }
    return { classes, added };
  }

  /** These changes are in files; there may be more since. */
  markSaved(changes) {
    this.saved = changes;
    this.keep();
  }

  keep() {
    remember(this.draft, this.unsaved ? JSON.stringify([...this.changes]) : null);
  }

  /** Give a beat a class (or `NONE`), as a step that can be undone. */
  correct(key, value) {
    const own = key < 0 ? NONE : this.found.class[key];
    const step = { key, before: this.changes.get(key), after: value === own ? undefined : value };
    if (step.before === step.after) return false;
    this.history.length = this.done;
    this.history.push(step);
    this.done++;
    this.apply(key, step.after);
    return true;
  }

  /** The key of the beat that changed; undefined if there is nothing to undo. */
  undo() {
    if (!this.done) return undefined;
    const step = this.history[--this.done];
    this.apply(step.key, step.before);
    return step.key;
  }

  redo() {
    if (this.done === this.history.length) return undefined;
    const step = this.history[this.done++];
    this.apply(step.key, step.after);
    return step.key;
  }

  apply(key, value) {
    if (value === undefined) this.changes.delete(key);
    else this.changes.set(key, value);
    this.keep();
    this.rebuild();
  }

  timeOf(key) {
    return key < 0 ? (-1 - key) / this.fs : this.found.time_s[key];
  }

  /** Place of a beat among all in order of time; -1 if it is not there. */
  placeOf(key) {
    for (let at = lowerBound(this.times, this.timeOf(key) - 1e-6); at < this.keys.length; at++) {
      if (this.keys[at] === key) return at;
      if (this.times[at] > this.timeOf(key) + 1e-6) break;
    }
    return -1;
  }

  /** Seconds since the beat before. */
  rr(place) {
    let before = place - 1;
    while (before >= 0 && this.classes[before] === NONE) before--;
    return before < 0 || this.classes[place] === NONE ? NaN : this.times[place] - this.times[before];
  }

  rebuild() {
    const { time_s: found, class: foundClass } = this.found;
    const added = [...this.changes.keys()].filter((key) => key < 0).sort((one, other) => other - one);
    const n = found.length + added.length;
    this.times = new Float64Array(n);
    this.classes = new Int8Array(n);
    this.keys = new Float64Array(n);
    for (let at = 0, place = 0, more = 0; at < n; at++) {
      const isAdded = more < added.length && (place === found.length || this.timeOf(added[more]) < found[place]);
      const key = isAdded ? added[more++] : place++;
      this.keys[at] = key;
      this.times[at] = this.timeOf(key);
      this.classes[at] = key < 0 ? this.changes.get(key) : foundClass[key];
    }
    for (const [key, value] of this.changes) if (key >= 0) this.classes[this.placeOf(key)] = value;
    this.count();
    this.compare();
  }

  /** Beats of each class before every second, so that any zoom knows its density at once. */
  count() {
    const seconds = Math.ceil((this.times.at(-1) ?? 0) + 1), k = this.names.length;
    this.before = this.names.map(() => new Uint32Array(seconds + 2));
    this.totals = new Array(k).fill(0);
    for (let at = 0; at < this.times.length; at++) {
      const own = this.classes[at];
      if (own === NONE) continue;
      this.totals[own]++;
      this.before[own][Math.floor(this.times[at]) + 1]++;
    }
    for (const one of this.before) for (let s = 1; s < one.length; s++) one[s] += one[s - 1];
  }

  /** Beats of a class between two times, to the second. */
  between(own, start, stop) {
    const one = this.before[own], last = one.length - 1;
    return one[Math.min(Math.max(Math.round(stop), 0), last)] - one[Math.min(Math.max(Math.round(start), 0), last)];
  }

  setReference(answer) {
    this.reference = answer && { ...unpacked(answer.columns), symbols: answer.symbols, notes: answer.notes };
    if (this.reference) {
      this.ofPlace = new Int32Array(this.found.class.length).fill(-1);
      this.reference.match.forEach((place, at) => place >= 0 && (this.ofPlace[place] = at));
    }
    this.compare();
  }

  /** Find where beats and reference disagree: in `wrong` by place, in `missed` by place in the reference. */
  compare() {
    const reference = this.reference, n = this.times.length;
    this.referenceAt = new Int32Array(n).fill(-1);
    this.wrong = new Uint8Array(n);
    this.missed = new Set();
    this.disagreements = new Float64Array(0);
    if (!reference) return;
    const addedAt = [...this.keys.keys()].filter((at) => this.keys[at] < 0), found = [];
    const addedTimes = addedAt.map((at) => this.times[at]);
    reference.match.forEach((place, at) => {
      if (place >= 0) return;
      const time = reference.time_s[at], near = nearest(addedTimes, time);
      if (near >= 0 && Math.abs(addedTimes[near] - time) <= SAME_S) this.referenceAt[addedAt[near]] = at;
      else {
        this.missed.add(at);
        found.push(time);
      }
    });
    for (let at = 0; at < n; at++) {
      if (this.keys[at] >= 0) this.referenceAt[at] = this.ofPlace[this.keys[at]];
      const other = this.referenceAt[at], given = this.classes[at];
      if (other < 0) this.wrong[at] = given !== NONE;
      else this.wrong[at] = given === NONE || (reference.class[other] >= 0 && reference.class[other] !== given);
      if (this.wrong[at]) found.push(this.times[at]);
    }
    this.disagreements = Float64Array.from(found).sort();
  }

  symbolAt(place) {
    const other = this.referenceAt[place];
    return other < 0 ? null : this.reference.symbols[this.reference.symbol[other]];
  }

  /** Next place after (`step` 1) or before (-1) a time that fits; -1 if there is none. */
  next(time, step, fits = () => true) {
    let at = step > 0 ? lowerBound(this.times, time + 1e-6) : lowerBound(this.times, time - 1e-6) - 1;
    while (at >= 0 && at < this.times.length && !fits(at)) at += step;
    return at < this.times.length ? at : -1;
  }
}
