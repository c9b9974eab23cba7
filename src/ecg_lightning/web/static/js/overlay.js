/** Beats of a class drawn over each other, with their median. */

import { ask, unpacked } from "./api.js";
import { fitted, make, note as noteOf } from "./dom.js";
import { quantiles } from "./numbers.js";
import { FONT, classColour, colours } from "./theme.js";
import { count, plural } from "./words.js";

const HEIGHT = 170; // pixels of a lead

export function overlayTab(app) {
  const chips = make("div", { class: "row", role: "group", "aria-label": "Class of beats" });
  const note = noteOf(""), canvas = make("canvas", { class: "overlay", role: "img" });
  const element = make("div", { class: "tab" }, chips, note, canvas);
  let chosen = 0, data = null, asked = null;

  async function draw(type) {
    const { beats } = app;
    chips.replaceChildren(...(beats?.names ?? []).map((name, own) => make("button", {
      "aria-pressed": String(own === chosen), disabled: !beats.totals[own],
      onclick: () => {
        chosen = own;
        draw("choice");
        chips.children[own].focus();
      },
    }, `${name} ${count(beats.totals[own])}`)));
    if (type === "layout" || type === "theme") return paint();
    if (!beats) {
      data = asked = null;
      note.textContent = "Beats are drawn once they are found.";
      return paint();
    }
    if (type === "beats") return undefined; // events follow, once users have paused
    const turn = (asked = {});
    try {
      const name = beats.names[chosen];
      const answer = await ask(`${app.path}/overlay/${encodeURIComponent(name)}`, "POST", beats.corrections);
      if (turn !== asked) return undefined;
      const { time_s: times, signals } = unpacked(answer.columns), [n, leads, length] = answer.columns.signals.shape;
      data = { ...answer, times, signals, n, leads, length, median: medians(signals, n, leads * length) };
      note.textContent = `${n} of ${plural(answer.of, `${name} beat`)} and their median. `
        + "Lines are 0.2 s and 0.5 mV apart. Click a beat to go to it.";
      canvas.setAttribute("aria-label", `${n} beats of class ${name} over each other`);
    } catch (error) {
      note.textContent = error.message;
    }
    return paint();
  }

  const scales = () => {
    const [low, high] = quantiles(data.signals, 0.002, 0.998);
    return { step: canvas.clientWidth / data.length, mv: (HEIGHT - 16) / (high - low + 0.2), high: high + 0.1 };
  };

  function paint() {
    canvas.style.height = `${data ? data.leads * HEIGHT : 0}px`;
    if (!data?.n) return;
    const context = fitted(canvas), { step, mv, high } = scales();
    const y = (lead, value) => lead * HEIGHT + 14 + (high - value) * mv;
    const trace = (values, offset, lead) => {
      context.beginPath();
      const row = offset + lead * data.length;
      for (let at = 0; at < data.length; at++) context.lineTo(at * step, y(lead, values[row + at]));
      context.stroke();
    };
    for (let lead = 0; lead < data.leads; lead++) {
      context.strokeStyle = colours["ecg-fine"];
      context.lineWidth = 1;
      context.beginPath();
      for (let time = data.before_s % 0.2; time * data.fs < data.length; time += 0.2) { // one line on the R peak
        const x = time * data.fs * step;
        context.moveTo(x, lead * HEIGHT + 2);
        context.lineTo(x, (lead + 1) * HEIGHT - 4);
      }
      for (let value = Math.floor(high * 2) / 2; y(lead, value) < (lead + 1) * HEIGHT - 4; value -= 0.5) {
        context.moveTo(0, y(lead, value));
        context.lineTo(canvas.clientWidth, y(lead, value));
      }
      context.stroke();
      context.strokeStyle = classColour(chosen);
      context.globalAlpha = Math.max(0.08, Math.min(0.5, 8 / data.n));
      for (let beat = 0; beat < data.n; beat++) trace(data.signals, beat * data.leads * data.length, lead);
      context.globalAlpha = 1;
      context.strokeStyle = colours.ink;
      context.lineWidth = 2.2;
      trace(data.median, 0, lead);
      context.fillStyle = colours.muted;
      context.font = `11px ${FONT}`;
      context.fillText(app.state.leads[lead], 4, lead * HEIGHT + 12);
    }
  }

  canvas.addEventListener("click", (event) => {
    if (!data?.n) return;
    const { step, mv, high } = scales(), lead = Math.min(data.leads - 1, Math.floor(event.offsetY / HEIGHT));
    const value = high - (event.offsetY - lead * HEIGHT - 14) / mv;
    const column = lead * data.length + Math.min(data.length - 1, Math.round(event.offsetX / step));
    const far = (beat) => Math.abs(data.signals[beat * data.leads * data.length + column] - value);
    app.jump(data.times[[...Array(data.n).keys()].reduce((best, beat) => (far(beat) < far(best) ? beat : best), 0)]);
  });
  return { element, draw };
}

function medians(signals, n, size) {
  const column = (at) => Float32Array.from({ length: n }, (_, beat) => signals[beat * size + at]);
  return Float32Array.from({ length: size }, (_, at) => quantiles(column(at), 0.5)[0]);
}
