/** The recording that is open and everything that users do with it. Its events: `state`, `recording`, `beats`,
 * `events`, `selection`, `view`, `session`. */

import { ask } from "./api.js";
import { Beats, NONE } from "./beats.js";
import { settled } from "./dom.js";
import { lowerBound, nearest, quantiles } from "./numbers.js";
import { Tiles } from "./tiles.js";
import { PAPER, View } from "./view.js";
import { clock, fixed } from "./words.js";

const POLL_MS = 300;
const SNAP_S = 0.08; // an added beat is put on the largest deflection within this of the cursor

export class App extends EventTarget {
  constructor(session) {
    super();
    this.session = session;
    this.view = new View(() => this.tell("view"));
    this.forget();
    this.fetchEvents = settled(() => this.loadEvents(), 250);
    this.addEventListener("beats", this.fetchEvents);
  }

  forget() {
    Object.assign(this, {
      number: null, state: null, tiles: null, beats: null, error: null, annotator: null,
      events: [], summary: null, selected: null, cursor: null, pointer: null, message: "",
    });
  }

  tell(type) {
    this.dispatchEvent(new Event(type));
  }

  say(message) {
    this.message = message;
    this.tell("selection");
  }

  get path() {
    return `/api/recordings/${this.number}`;
  }

  clock(time, digits = 0) {
    return clock(time, this.state?.start, digits);
  }

  /** Open a recording and follow its reading and annotation; `at` is where of it: first second, pixels per second. */
  async open(number, at = {}) {
    this.forget();
    this.number = number;
    const isOpen = () => this.number === number && this.opening === turn;
    const turn = (this.opening = {});
    this.tell("recording");
    try {
      for (let first = true; ; first = false) {
        const state = await ask(this.path), before = this.state?.read;
        if (!isOpen()) return;
        this.state = state;
        if (first) {
          const changed = () => isOpen() && this.recover(), failed = (sentence) => isOpen() && this.fail(sentence);
          this.tiles = new Tiles(this.path, state, changed, failed);
          this.view.reset(state.duration_s, state.leads.length, at.start, at.pps);
          this.tell("recording");
        } else if (state.read !== before) this.tiles.refresh();
        if (state.error) throw new Error(state.error);
        this.tell("state");
        if (state.annotated === 1) break;
        await new Promise((resolve) => setTimeout(resolve, POLL_MS));
        if (!isOpen()) return;
      }
      const answer = await ask(`${this.path}/beats`);
      if (!isOpen()) return;
      const { name, samples } = this.state, [n] = answer.columns.sample.shape;
      this.beats = new Beats(answer, JSON.stringify(["draft", this.session.model, name, samples, n]));
      this.tell("beats");
      if (this.state.annotators.length) await this.showReference(this.state.annotators[0]);
    } catch (error) {
      if (isOpen()) this.fail(error.message);
    }
  }

  fail(message) {
    this.error = message;
    this.tell("state");
  }

  /** A tile has come: a failure before it is over. */
  recover() {
    if (this.error && !this.state.error) this.fail(null);
    this.tell("tiles");
  }

  async showReference(annotator) {
    const { beats } = this;
    try {
      const answer = annotator ? await ask(`${this.path}/references/${encodeURIComponent(annotator)}`) : null;
      if (beats !== this.beats) return;
      beats.setReference(answer);
      this.annotator = annotator;
      this.tell("beats");
    } catch (error) {
      if (beats === this.beats) this.fail(error.message);
    }
  }

  async loadEvents() {
    const { beats } = this, turn = (this.asking = {});
    if (!beats) return;
    try {
      const answer = await ask(`${this.path}/events`, "POST", beats.corrections);
      if (beats !== this.beats || turn !== this.asking) return;
      this.events = answer.events;
      this.summary = answer.summary;
      this.tell("events");
    } catch (error) {
      if (beats === this.beats) this.fail(error.message);
    }
  }

  /** Place of the selected beat; -1 if there is none. */
  get place() {
    return this.selected === null || !this.beats ? -1 : this.beats.placeOf(this.selected);
  }

  /** Where the next beat or event is looked for from. */
  get here() {
    return this.place >= 0 ? this.beats.times[this.place] : (this.cursor ?? this.view.start);
  }

  select(place) {
    this.selected = place < 0 ? null : this.beats.keys[place];
    if (place >= 0) this.cursor = this.beats.times[place];
    this.say("");
  }

  /** Show a time, and select the beat there if there is one. */
  jump(time) {
    const place = this.beats ? nearest(this.beats.times, time) : -1;
    const isBeat = place >= 0 && Math.abs(this.beats.times[place] - time) < 0.05;
    this.select(isBeat ? place : -1);
    this.cursor = isBeat ? this.beats.times[place] : time;
    if (this.view.pps < 0.2 * PAPER) this.view.pps = PAPER; // to where beats can be seen
    this.view.show(time);
    this.tell("selection");
  }

  /** Jump to the next beat (`step` 1) or the one before (-1) that fits. */
  step(step, what = "beat", fits = undefined) {
    const place = this.beats?.next(this.here, step, fits) ?? -1;
    if (place < 0) this.say(`No ${what} ${step > 0 ? "after" : "before"} this.`);
    else this.jump(this.beats.times[place]);
  }

  stepTimes(step, what, times) {
    const at = step > 0 ? lowerBound(times, this.here + 1e-6) : lowerBound(times, this.here - 1e-6) - 1;
    if (at < 0 || at >= times.length) this.say(`No ${what} ${step > 0 ? "after" : "before"} this.`);
    else this.jump(times[at]);
  }

  stepDisagreement(step) {
    this.stepTimes(step, "disagreement", this.beats?.disagreements ?? []);
  }

  stepEvent(step, kind) {
    this.stepTimes(step, kind, this.events.filter((event) => event.kind === kind).map((event) => event.start_s));
  }

  relabel(value) {
    if (this.place < 0) this.say("Select a beat first.");
    else if (this.beats.correct(this.selected, value)) this.corrected(this.selected);
  }

  corrected(key) {
    const place = this.beats.placeOf(key);
    this.tell("beats");
    this.select(place);
    this.view.show(this.beats.timeOf(key));
  }

  undo(isBack) {
    const key = isBack ? this.beats?.undo() : this.beats?.redo();
    if (key === undefined) this.say(isBack ? "Nothing to undo." : "Nothing to redo.");
    else this.corrected(key);
  }

  /** Add a beat of the first class where the signal is farthest from its median near the cursor. */
  async add() {
    const { beats, tiles } = this, cursor = this.pointer ?? this.cursor;
    if (!beats || cursor === null) return this.say("Put the cursor on an R peak first.");
    const from = Math.max(0, Math.round((cursor - SNAP_S) * tiles.fs));
    const to = Math.min(tiles.samples, Math.round((cursor + SNAP_S) * tiles.fs) + 1);
    const value = await tiles.around(from, to).catch((error) => this.fail(error.message));
    if (!value || beats !== this.beats) return undefined;
    const sums = new Float64Array(to - from);
    for (let lead = 0; lead < tiles.leads; lead++) {
      const own = sums.map((_, at) => value(lead, from + at)).map((mv) => (Number.isNaN(mv) ? 0 : mv));
      const [median] = quantiles(own, 0.5);
      own.forEach((mv, at) => (sums[at] += Math.abs(mv - median)));
    }
    const peak = (from + sums.indexOf(Math.max(...sums))) / tiles.fs;
    const near = nearest(beats.times, peak);
    if (near >= 0 && Math.abs(beats.times[near] - peak) < SNAP_S) {
      this.select(near);
      if (beats.classes[near] !== NONE) return this.say("There is a beat already.");
      return this.relabel(beats.found.class[beats.keys[near]]);
    }
    const key = -1 - Math.round(peak * beats.fs);
    beats.correct(key, 0);
    return this.corrected(key);
  }

  /** Write the corrections; resolves to the paths of the files. */
  async save(formats) {
    const { beats } = this, changes = new Map(beats.changes);
    const { files } = await ask(`${this.path}/corrections`, "PUT", { ...beats.corrections, formats });
    beats.markSaved(changes);
    this.tell("beats");
    return files;
  }

  /** The beat in one line: class, probability, time, RR interval, and the reference's symbol. */
  describe(place) {
    const { beats } = this, key = beats.keys[place], own = beats.classes[place];
    const words = [own === NONE ? "no beat" : beats.names[own]];
    if (key < 0) words.push("added");
    else {
      const given = beats.found.class[key], n = beats.found.probabilities.length / beats.found.class.length;
      const all = beats.found.probabilities.subarray(key * n, (key + 1) * n);
      const other = own !== given ? `model: ${beats.names[given]} ` : "";
      words.push(`${other}${fixed(beats.found.confidence[key], 2)}`);
      const rest = [...all].map((p, at) => [p, beats.names[at]]).filter(([p], at) => p >= 0.01 && at !== given);
      words.push(...rest.sort(([p], [q]) => q - p).map(([p, name]) => `${name} ${fixed(p, 2)}`));
    }
    words.push(this.clock(beats.times[place], 1), `RR ${fixed(beats.rr(place), 2)} s`);
    if (key >= 0 && beats.flagsOf(key)) words.push(beats.flagsOf(key));
    if (beats.reference) words.push(`reference ${beats.symbolAt(place) ?? "none"}`);
    return words.join(", ");
  }

  get scale() {
    const { speed, gain } = this.view;
    return `${fixed(speed, speed < 10 ? 2 : 0)} mm/s, ${gain} mm/mV`;
  }
}
