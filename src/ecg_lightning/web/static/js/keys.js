/** Every key: what it does, and how the help dialog calls it. */

import { NONE } from "./beats.js";
import { $, make } from "./dom.js";
import { PAPER } from "./view.js";

const TAKEN = "nputdaxzyg";

/** @returns rows `[names of keys, words, action(event)]`; a letter with Shift goes backwards */
function table(app, dialogs) {
  const { view } = app, back = (event) => (event.shiftKey ? -1 : 1);
  const names = app.beats?.names ?? [];
  const letters = names.filter((name) => /^[A-Z]$/i.test(name) && !TAKEN.includes(name.toLowerCase()));
  const ofClass = (name) => (at) => app.beats.classes[at] === names.indexOf(name);
  return [
    [["n", "."], "next beat", (event) => app.step(back(event))],
    [[","], "beat before", () => app.step(-1)],
    ...letters.map((name) => [[name.toLowerCase()], `next beat of class ${name}`,
      (event) => app.step(back(event), `beat of class ${name}`, ofClass(name))]),
    [["p"], "next pause", (event) => app.stepEvent(back(event), "pause")],
    [["u"], "next uncertain beat", (event) => app.stepEvent(back(event), "uncertain")],
    [["d"], "next disagreement with the reference", (event) => app.stepDisagreement(back(event))],
    ...names.map((name, own) => [[String(own + 1)], `set the class to ${name}`, () => app.relabel(own)]),
    [["x", "Delete"], "no beat", () => app.relabel(NONE)],
    [["a"], "add a beat at the cursor", () => app.add()],
    [["z"], "undo", (event) => app.undo(!event.shiftKey)],
    [["y"], "redo", () => app.undo(false)],
    [["ArrowLeft"], "left; with Shift: the cursor", (event) => sideways(app, -1, event)],
    [["ArrowRight"], "right; with Shift: the cursor", (event) => sideways(app, 1, event)],
    [["PageUp"], "one screen back", () => view.pan(-0.9 * view.width)],
    [["PageDown"], "one screen forward", () => view.pan(0.9 * view.width)],
    [["Home"], "start", () => view.to(0)],
    [["End"], "end", () => view.to(view.duration)],
    [["+", "="], "zoom in", () => zoom(app, 2)],
    [["-"], "zoom out", () => zoom(app, 0.5)],
    [["0"], "25 mm/s, 10 mm/mV", () => {
      view.gain = 10;
      zoom(app, PAPER / view.pps);
    }],
    [["ArrowUp"], "more gain", () => view.amplify(1)],
    [["ArrowDown"], "less gain", () => view.amplify(-1)],
    [["g"], "go to a time", () => dialogs.goTo()],
    [["?"], "this list", () => dialogs.help()],
    [["Escape"], "deselect", () => app.beats && app.select(-1)],
  ];
}

function sideways(app, step, event) {
  if (!event.shiftKey) return app.view.pan(0.15 * step * app.view.width);
  const from = app.cursor ?? app.view.start + app.view.span / 2;
  app.cursor = Math.min(Math.max(from + 0.04 * step, 0), app.state.duration_s);
  app.pointer = null;
  app.view.show(app.cursor);
  return app.tell("selection");
}

export function zoom(app, factor) {
  const x = app.view.x(app.here);
  app.view.zoom(factor, x > 0 && x < app.view.width ? x : app.view.width / 2);
}

const SHOWN = {
  ArrowLeft: "←", ArrowRight: "→", ArrowUp: "↑", ArrowDown: "↓", PageUp: "Page ↑", PageDown: "Page ↓",
};
const isTyping = (target) => target.closest("input, select, dialog");
const SCROLLING = ["ArrowUp", "ArrowDown", "PageUp", "PageDown", "Home", "End"]; // which the panel does by itself

export function startKeys(app, dialogs) {
  document.addEventListener("keydown", (event) => {
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const isCommand = event.ctrlKey || event.metaKey, isOfBrowser = event.altKey || (isCommand && !"yz".includes(key));
    if (isCommand && key === "s") {
      event.preventDefault();
      if (!document.querySelector("dialog[open]")) dialogs.save();
      return;
    }
    const scrolls = SCROLLING.includes(key) && event.target.closest("#panel");
    if (!app.state || isOfBrowser || scrolls || isTyping(event.target)) return;
    const row = table(app, dialogs).find(([keys]) => keys.includes(key));
    if (!row) return;
    event.preventDefault();
    row[2](event);
  });
}

/** Fill the list of the help dialog. */
export function fillHelp(app) {
  const rows = [...table(app, {}), [["Ctrl+S"], "save corrections"]];
  $("keys").replaceChildren(...rows.map(([keys, words]) => make("div", {},
    make("dt", {}, ...keys.flatMap((key) => [make("kbd", {}, SHOWN[key] ?? key), " "])), make("dd", {}, words))));
}
