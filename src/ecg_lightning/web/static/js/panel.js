/** The tabs beside the picture; each is drawn while it is in sight, when what it shows has changed. */

import { $, filling, make, note } from "./dom.js";
import { List } from "./list.js";
import { overlayTab } from "./overlay.js";
import { recordingsTab } from "./recordings.js";
import { rhythmTab } from "./rhythm.js";
import { classStyle } from "./theme.js";
import { count, elapsed, fixed, percent, plural } from "./words.js";

/** @returns functions `open(name)` and `update(types)` */
export function startPanel(app, openRecording) {
  const tabs = {
    Events: eventsTab(app), Beats: overlayTab(app), Rhythm: rhythmTab(app), Summary: summaryTab(app),
    Report: reportTab(app), Recordings: recordingsTab(app, openRecording),
  };
  const host = $("panel-content"), bar = $("tabs");
  let current = "Events";
  const buttons = Object.fromEntries(Object.keys(tabs).map((name) => [name, make("button", {
    role: "tab", id: `tab-${name}`, "aria-controls": "panel-content", onclick: () => open(name),
  }, name)]));
  bar.append(...Object.values(buttons));
  bar.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key], names = Object.keys(tabs);
    if (!step) return;
    event.stopPropagation();
    open(names[(names.indexOf(current) + step + names.length) % names.length]);
    buttons[current].focus();
  });

  function open(name) {
    current = name;
    for (const [other, button] of Object.entries(buttons)) {
      button.setAttribute("aria-selected", String(other === name));
      button.tabIndex = other === name ? 0 : -1;
    }
    host.setAttribute("aria-labelledby", `tab-${name}`);
    host.replaceChildren(tabs[name].element);
    tabs[name].draw();
  }
  for (const type of ["events", "beats", "recording", "session", "theme"]) {
    app.addEventListener(type, () => tabs[current].draw(type));
  }
  open(current);
  return { open, layout: () => tabs[current].draw("layout") };
}

const swatch = (place) => {
  const dot = make("span", { class: "swatch", "aria-hidden": "true" });
  dot.style.background = classStyle(place);
  return dot;
};

const LATER = "will be here once the beats are found.";

const ORDERS = {
  "least confident first": (one, other) => (one.confidence ?? 2) - (other.confidence ?? 2),
  "most confident first": (one, other) => (other.confidence ?? -1) - (one.confidence ?? -1),
  "by time": () => 0,
};

function eventsTab(app) {
  const kinds = make("select", { "aria-label": "Kind of event", onchange: () => draw("choice") });
  const order = make("select", { "aria-label": "Order of events", onchange: () => draw("choice") });
  order.append(...Object.keys(ORDERS).map((name) => make("option", {}, name)));
  const words = note("");
  const list = new List("Events", (event) => [
    swatch(event.class ? app.beats.names.indexOf(event.class) : -1),
    make("span", { class: "grow" }, event.kind === "run" ? `${nameOf(event)} of ${event.beats}` : nameOf(event)),
    make("span", { class: "number" }, fixed(event.confidence, 2)),
    make("span", { class: "number" }, app.clock(event.start_s)),
  ], (event) => app.jump(event.start_s));

  function draw(type) {
    if (type === "layout") return;
    const counts = new Map();
    for (const event of app.events) counts.set(nameOf(event), (counts.get(nameOf(event)) ?? 0) + 1);
    const chosen = counts.has(kinds.value) ? kinds.value : "";
    kinds.replaceChildren(
      make("option", { value: "" }, `all kinds (${count(app.events.length)})`),
      ...[...counts].map(([name, n]) => make("option", { value: name }, `${name} (${count(n)})`)),
    );
    kinds.value = chosen;
    list.show(app.events.filter((event) => !chosen || nameOf(event) === chosen).sort(ORDERS[order.value]));
    words.textContent = app.events.length ? "" : app.summary ? "No events." : `Events ${LATER}`;
  }
  return { element: filling(make("div", { class: "row" }, kinds, order), words, list.element), draw };
}

const nameOf = ({ kind, class: own }) => (own ? `${own}, ${kind}` : kind);

function reportTab(app) {
  const element = filling();
  let shown = null;
  function draw() {
    const own = app.beats ? `/recordings/${app.number}/report` : null;
    const pages = [[own, "Report of the recording"], [app.session.report ? "/report" : null, "Report of the model"]];
    const there = pages.filter(([path]) => path), paths = there.join();
    if (paths === shown) return undefined;
    shown = paths;
    if (!there.length) return element.replaceChildren(note(`The report ${LATER}`));
    const frame = make("iframe", { src: there[0][0], title: there[0][1] });
    const links = there.map(([path, title]) => make("span", {},
      make("button", { onclick: () => Object.assign(frame, { src: path, title }) }, title), " ",
      make("a", { href: path, target: "_blank", rel: "noopener" }, "in a window")));
    return element.replaceChildren(make("div", { class: "row" }, ...links), frame);
  }
  return { element, draw };
}

function summaryTab(app) {
  const element = make("div", { class: "tab" });
  const jump = (event, text) => (event
    ? make("button", { class: "link", onclick: () => app.jump(event.start_s) }, text(event)) : "–");
  const at = (event) => ` at ${app.clock(event.start_s)}`;
  const table = (caption, head, rows) => make("table", {}, make("caption", {}, caption),
    head.length ? make("thead", {}, make("tr", {}, ...head.map((name) => make("th", { scope: "col" }, name)))) : "",
    make("tbody", {}, ...rows.map(([name, ...cells]) => make("tr", {}, make("th", { scope: "row" }, ...[name].flat()),
      ...cells.map((cell) => make("td", {}, cell))))));

  function draw(type) {
    if (type === "layout") return undefined;
    const found = app.summary;
    if (!found) return element.replaceChildren(note(`The summary ${LATER}`));
    const { rate, pauses, variability, ectopy } = found;
    const minute = (event) => `${fixed(event.rate)}${at(event)}`;
    return element.replaceChildren(
      note(`${plural(found.beats, "beat")} in ${elapsed(found.usable_s)} of usable signal `
        + `(${percent(found.usable_share)}). Counts of what the model found, with the corrections; no diagnosis.`),
      table("Beats", ["class", "beats", "share", "per hour"], Object.entries(found.classes).map(([name, own]) => [
        [swatch(app.beats.names.indexOf(name)), name], count(own.beats), percent(own.share), fixed(own.per_hour, 1)])),
      table("Heart rate (per minute)", [], [["mean", fixed(rate.mean)],
        [`lowest of ${rate.intervals} intervals`, jump(rate.lowest, minute)], ["highest", jump(rate.highest, minute)]]),
      table("Pauses", [], [["over 2 s", count(pauses.over_2_s)], ["over 2.5 s", count(pauses["over_2.5_s"])],
        ["longest RR interval", jump(pauses.longest, (event) => `${fixed(event.seconds, 2)} s${at(event)}`)]]),
      ...Object.entries(ectopy).map(([name, own]) => table(`Ectopic beats of class ${name}`, [], [
        ...["single", "couplets", "triplets", "runs"].map((kind) => [kind, count(own[kind])]),
        ["longest run", jump(own.longest, (event) => `${event.beats} beats${at(event)}`)],
        ["fastest run", jump(own.fastest, minute)],
        ["bigeminy, beats", count(own.bigeminy.beats)], ["trigeminy, beats", count(own.trigeminy.beats)]])),
      variability ? table("Variability of N–N intervals", [], [["SDNN", `${fixed(variability.sdnn_ms)} ms`],
        ["RMSSD", `${fixed(variability.rmssd_ms)} ms`], ["pNN50", percent(variability.pnn50)],
        ["irregular groups", percent(variability.irregular)]]) : "",
    );
  }
  return { element, draw };
}
