/** Start: connect the page's elements with the recording that is open. */

import { ask } from "./api.js";
import { App } from "./app.js";
import { NONE } from "./beats.js";
import { $, eachFrame, make, settled } from "./dom.js";
import { Ecg } from "./ecg.js";
import { follow } from "./gestures.js";
import { fillHelp, startKeys, zoom } from "./keys.js";
import { Overview, inWords } from "./overview.js";
import { startPanel } from "./panel.js";
import { bring } from "./recordings.js";
import { classStyle, startTheme, toggleTheme } from "./theme.js";
import { elapsed, fixed, parseTime, plural } from "./words.js";

const app = new App(await ask("/api/session").catch((error) => {
  $("status").textContent = error.message;
  throw error;
}));
const ecg = new Ecg($("ecg"), app), overview = new Overview($("overview"), app);
const draw = eachFrame(() => {
  ecg.draw();
  overview.draw();
  status();
});
const drawAll = () => {
  overview.isFresh = false;
  draw();
};
const repaint = () => {
  drawAll();
  app.tell("theme");
};
startTheme(repaint);

const dialogs = {
  help() {
    fillHelp(app);
    $("help").showModal();
  },
  goTo() {
    $("time").value = app.clock(app.here);
    $("go").showModal();
    $("time").select();
  },
  save() {
    if (!app.beats) return;
    const what = `${plural(app.beats.unsaved, "correction")} of ${app.state.name}`;
    $("save-note").textContent = `${what} will be saved in ${app.session.output}. The original files stay as they are.`;
    $("save").showModal();
  },
};
const openRecording = (number, at) => {
  app.open(number, at);
  showPanel(false);
};
const panel = startPanel(app, openRecording);

/** On narrow screens the panel is over the picture. */
function showPanel(isShown) {
  document.body.classList.toggle("with-panel", isShown);
  $("panel-toggle").setAttribute("aria-expanded", String(isShown));
  panel.layout();
}

/** What is under the cursor, and how large the picture is. */
function status() {
  const { state, tiles, beats } = app, cursor = app.pointer ?? app.cursor;
  document.body.classList.toggle("empty", app.number === null);
  if (!state) return;
  $("scale").textContent = app.scale;
  const time = cursor ?? app.view.start, at = Math.round(time * tiles.fs);
  const values = state.leads.map((name, lead) => `${name} ${fixed(tiles.value(lead, at), 2)}`).slice(0, 4).join("  ");
  const clockTime = state.start ? `${app.clock(time, 1)} (${elapsed(time, 1)})` : elapsed(time, 1);
  $("cursor").textContent = cursor === null ? "" : `${clockTime}   ${values} mV`;
  $("disagreements").textContent = beats?.reference ? plural(beats.disagreements.length, "disagreement") : "";
}

const describe = settled(() => app.state && $("ecg").setAttribute("aria-label", inWords(app)), 400);
const keepPlace = settled(() => {
  const { number, view } = app;
  if (app.state) history.replaceState(null, "", `#${[number, fixed(view.start, 2), fixed(view.pps, 4)].join("/")}`);
}, 300);
app.addEventListener("view", () => {
  draw();
  describe();
  keepPlace();
});
app.addEventListener("tiles", draw);
app.addEventListener("events", drawAll);
app.addEventListener("recording", () => {
  const name = app.state?.name ?? app.session.recordings[app.number]?.name ?? "";
  $("name").textContent = $("name").title = name;
  document.title = name ? `${name} – ecg_lightning` : "ecg_lightning";
  for (const id of ["beat", "cursor", "disagreements", "scale"]) $(id).textContent = "";
  progress("Opening…", 0);
  badge();
  classes();
  drawAll();
});
app.addEventListener("state", () => {
  const { state, error } = app;
  if (error) progress(error);
  else if (state.read < 1) progress("Reading the signals…", state.read);
  else if (state.annotated < 1) progress("Finding and classifying beats…", state.annotated);
  else progress("");
  drawAll();
});
app.addEventListener("beats", () => {
  badge();
  if (!$("classes").firstChild) classes(); // else they are the same, and one may have the focus
  $("annotator").value = app.annotator ?? "";
  describe();
  drawAll();
});
app.addEventListener("selection", () => {
  $("beat").textContent = [app.message, app.place >= 0 ? app.describe(app.place) : ""].filter(Boolean).join(" ");
  draw();
});

function progress(sentence, part) {
  $("status").textContent = sentence;
  $("progress").hidden = part === undefined;
  if (part !== undefined) $("progress").value = part;
  $("banner").hidden = !sentence;
  $("banner").classList.toggle("error", Boolean(sentence) && part === undefined);
}

function badge() {
  const n = app.beats?.unsaved ?? 0, { state, beats } = app;
  $("badge").textContent = n ? `${plural(n, "correction")}, not saved` : "";
  $("save-open").disabled = !beats;
  const about = [app.session.model, beats && plural(beats.times.length, "beat"), state && elapsed(state.duration_s)];
  $("about").textContent = about.filter(Boolean).join(" · ");
}

/** A button for each class that a beat can be given, and the annotators beside the model. */
function classes() {
  const names = app.beats?.names ?? [], annotators = app.state?.annotators ?? [];
  $("classes").replaceChildren(...[...names, ...(app.beats ? ["×"] : [])].map((name, own) => {
    const value = own < names.length ? own : NONE, label = value === NONE ? "No beat (x)" : `Class ${name} (${own + 1})`;
    const button = make("button", { title: label, "aria-label": label, onclick: () => app.relabel(value) }, name);
    button.style.color = classStyle(value);
    return button;
  }));
  const option = (name) => make("option", { value: name }, name || "no reference");
  $("annotator").replaceChildren(...["", ...annotators].map(option));
  $("annotator").hidden = !app.beats || !annotators.length;
}

follow($("ecg"), app.view, {
  click(x) {
    if (!app.state) return;
    const place = ecg.beatAt(x);
    if (place >= 0) return app.select(place);
    app.selected = null;
    app.cursor = Math.min(app.view.time(x), app.state.duration_s);
    return app.say("");
  },
  hover(x) {
    ecg.hovered = x === null ? -1 : ecg.beatAt(x);
    app.pointer = x === null || !app.state ? null : Math.min(app.view.time(x), app.state.duration_s);
    draw();
  },
});
startKeys(app, dialogs);

const on = (id, action) => $(id).addEventListener("click", action);
on("earlier", () => app.step(-1));
on("later", () => app.step(1));
on("undo", () => app.undo(true));
on("redo", () => app.undo(false));
on("add", () => app.add());
on("zoom-in", () => zoom(app, 2));
on("zoom-out", () => zoom(app, 0.5));
on("more", () => app.view.amplify(1));
on("less", () => app.view.amplify(-1));
on("theme", () => toggleTheme(repaint));
on("help-open", dialogs.help);
on("save-open", dialogs.save);
on("choose", () => $("files").click());
on("panel-toggle", () => showPanel(!document.body.classList.contains("with-panel")));
$("annotator").addEventListener("change", (event) => app.showReference(event.target.value));
for (const button of document.querySelectorAll("[data-close]")) {
  button.addEventListener("click", () => button.closest("dialog").close());
}

$("go-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const time = parseTime($("time").value, app.state.start, app.state.duration_s);
  const isThere = time >= 0 && time <= app.state.duration_s;
  $("go-note").textContent = isThere ? "" : `Expected a time such as 1:02:03, up to ${elapsed(app.state.duration_s)}.`;
  if (!isThere) return;
  $("go").close();
  app.jump(time);
});
$("save-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const formats = ["wfdb", "csv"].filter((name) => $(`format-${name}`).checked);
  const saved = formats.length ? app.save(formats) : Promise.reject(new Error("Choose a format."));
  $("save-note").textContent = await saved.then((files) => `Saved: ${files.join(", ")}`, (error) => error.message);
});

const brought = (files) => files.length && bring(files, app, openRecording, progress);
$("files").addEventListener("change", (event) => {
  brought([...event.target.files]);
  event.target.value = "";
});
addEventListener("dragover", (event) => {
  event.preventDefault();
  document.body.classList.add("dragged");
});
addEventListener("dragleave", (event) => event.relatedTarget || document.body.classList.remove("dragged"));
addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("dragged");
  brought([...event.dataTransfer.files]);
});
addEventListener("beforeunload", (event) => app.beats?.unsaved && event.preventDefault());
new ResizeObserver(() => {
  drawAll();
  panel.layout();
}).observe($("view"));

const [number, start, pps] = location.hash.slice(1).split("/").map(Number);
const isPlace = number < app.session.recordings.length && start >= 0 && pps > 0;
if (app.session.recordings.length) openRecording(isPlace ? number : 0, isPlace ? { start, pps } : {});
else {
  progress("");
  draw();
}
if (app.session.recordings.length > 1) panel.open("Recordings");
