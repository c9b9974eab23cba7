/** The signals that were loaded, at every zoom: missing pieces are shown from a coarser level until they come. */

import { askTile } from "./api.js";

export const FACTOR = 4; // between the samples of a block at one level and at the next
const KEPT = 96 * 2 ** 20; // bytes
const AT_ONCE = 6; // requests
const PAUSE_MS = 3000; // after a failure

export class Tiles {
  /** @param changed is called when a tile has come, @param failed with the sentence of an error */
  constructor(path, { tile, levels, samples, fs, leads }, changed, failed) {
    Object.assign(this, { path, tile, levels, samples, fs, leads: leads.length, changed, failed });
    this.cache = new Map(); // the least recently used first
    this.loading = new Set();
    this.wanted = [];
    this.bytes = 0;
    this.want(levels - 1, 0);
    this.load();
  }

  /** Forget which tiles are wanted: a new picture begins. */
  begin() {
    this.wanted.length = 0;
  }

  want(level, index) {
    const last = Math.ceil(this.samples / (this.tile * FACTOR ** level)) - 1;
    const key = `${level}/${index}`, there = this.cache.get(key);
    if (index >= 0 && index <= last && (!there || there.stale) && !this.loading.has(key)) this.wanted.push(key);
  }

  /** Tiles that cover samples from one to before another, each with the samples `from`, `to` that it is to show. */
  pieces(level, from, to) {
    const found = [], size = this.tile * FACTOR ** level;
    const first = Math.max(0, Math.floor(from / size)), last = Math.floor((Math.min(to, this.samples) - 1) / size);
    for (let index = first; index <= last; index++) {
      this.want(level, index);
      const tile = this.finest(level, index);
      const part = { tile, from: Math.max(from, index * size), to: Math.min(to, (index + 1) * size) };
      if (tile && tile === found.at(-1)?.tile) found.at(-1).to = part.to;
      else if (tile) found.push(part);
    }
    this.want(level, last + 1); // where users pan
    this.want(level, first - 1);
    if (level + 1 < this.levels) this.want(level + 1, Math.floor(first / FACTOR)); // where they zoom out
    return found;
  }

  finest(level, index) {
    for (; level < this.levels; level++, index = Math.floor(index / FACTOR)) {
      const key = `${level}/${index}`, tile = this.cache.get(key);
      if (!tile) continue;
      this.cache.delete(key);
      this.cache.set(key, tile);
      return tile;
    }
    return undefined;
  }

  /** The value of a lead at a sample in mV, of the finest tile that is there. */
  value(lead, sample) {
    const tile = this.finest(0, Math.floor(sample / this.tile));
    if (!tile) return NaN;
    const at = (lead * tile.blocks + Math.floor((sample - tile.from) / tile.size)) * tile.ends;
    return (tile.values[at] + tile.values[at + tile.ends - 1]) / 2;
  }

  /** Samples of all leads around one, once they are there: a function of lead and sample. */
  async around(from, to) {
    for (let index = Math.floor(from / this.tile); index <= Math.floor((to - 1) / this.tile); index++) {
      if (this.cache.get(`0/${index}`)?.whole !== true) await this.fetch(`0/${index}`);
    }
    return (lead, sample) => this.value(lead, sample);
  }

  /** More of the recording was read: what was incomplete is asked for again. */
  refresh() {
    for (const tile of this.cache.values()) tile.stale = !tile.whole;
    this.want(this.levels - 1, 0);
    this.load();
  }

  /** Ask for what is wanted, the first first. */
  load() {
    while (!this.isPaused && this.loading.size < AT_ONCE && this.wanted.length) {
      const key = this.wanted.shift();
      if (!this.loading.has(key)) this.fetch(key).then(this.changed, (error) => this.pause(error));
    }
  }

  pause(error) {
    this.isPaused = true;
    this.failed(error.message);
    setTimeout(() => {
      this.isPaused = false;
      this.changed();
    }, PAUSE_MS);
  }

  async fetch(key) {
    this.loading.add(key);
    try {
      const got = await askTile(`${this.path}/tiles/${key}`);
      const [level, index] = key.split("/").map(Number);
      const size = FACTOR ** level;
      this.bytes += got.values.byteLength - (this.cache.get(key)?.values.byteLength ?? 0);
      this.cache.set(key, { ...got, size, from: index * this.tile * size });
      for (const [old, tile] of this.cache) {
        if (this.bytes <= KEPT) break;
        if (old.startsWith(`${this.levels - 1}/`)) continue; // the picture of last resort
        this.bytes -= tile.values.byteLength;
        this.cache.delete(old);
      }
    } finally {
      this.loading.delete(key);
    }
  }
}
