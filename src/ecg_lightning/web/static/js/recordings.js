/** The recordings of the viewer, and files that users bring. */

import { upload } from "./api.js";
import { $, filling, make } from "./dom.js";
import { List } from "./list.js";

export function recordingsTab(app, openRecording) {
  const words = "Filter by name";
  const filter = make("input", { type: "search", placeholder: words, "aria-label": words, oninput: () => draw() });
  const button = make("button", { onclick: () => $("files").click() }, "Open files…");
  const list = new List("Recordings", ({ number, name }) => [
    make("span", { class: "grow", dir: "auto", title: name }, name), number === app.number ? "open" : "",
  ], ({ number }) => number !== app.number && openRecording(number));
  function draw() {
    const wanted = filter.value.toLowerCase();
    list.show(app.session.recordings.filter(({ name }) => name.toLowerCase().includes(wanted)));
  }
  return { element: filling(make("div", { class: "row" }, filter, button), list.element), draw };
}

/** Send files, those that open a recording last, and open the first of them; `report` gets sentences. */
export async function bring(files, app, openRecording, report) {
  const companions = (file) => app.session.companions.some((suffix) => file.name.toLowerCase().endsWith(suffix));
  const sorted = [...files].sort((one, other) => companions(other) - companions(one));
  let first = null;
  try {
    for (const file of sorted) {
      app.session = await upload(file, (part) => report(`Sending ${file.name}…`, part));
      if (!companions(file)) first ??= `uploaded/${file.name.replace(/\.[^.]*$/, "")}`;
    }
    app.tell("session");
    if (first === null) return report("These files belong to a recording; bring its header (.hea) or .edf file, too.");
    report("");
    return openRecording(app.session.recordings.find(({ name }) => name === first).number);
  } catch (error) {
    return report(error.message);
  }
}
