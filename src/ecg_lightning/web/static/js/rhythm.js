/** Heart rate and RR intervals over time, and each interval against the one before. */

import { NONE } from "./beats.js";
import { make, note } from "./dom.js";
import { STEPS } from "./ecg.js";
import { nearest, quantiles } from "./numbers.js";
import { heartRate } from "./overview.js";
import { FONT, classColour, colours } from "./theme.js";

const LONGEST_S = 3; // RR interval that is drawn
const DOT = 2.2;

export function rhythmTab(app) {
  const element = make("div", { class: "tab" });
  let plots = [], width = 0;

  function draw(type) {
    if (type === "events" || (type === "layout" && element.clientWidth === width)) return;
    for (const plot of plots) plot.destroy();
    plots = [];
    element.replaceChildren();
    width = element.clientWidth;
    if (!app.beats || !width) {
      element.append(note("The rhythm will be here once the beats are found."));
      return;
    }
    const { times, rates } = heartRate(app.beats, app.state.duration_s, width), rr = intervals(app.beats);
    const time = { values: (_, values) => values.map((value) => app.clock(value).split(" ")[0]), incrs: STEPS };
    const jump = (plot) => app.jump(plot.posToVal(plot.cursor.left, "x"));
    plots = [
      chart("Heart rate per minute", [times, rates], { time, click: jump, line: true }),
      chart("RR interval in s; drag to zoom, double click for all", [rr.times, rr.now], {
        time, points: rr,
        click: (plot) => app.jump(rr.times[nearest(rr.times, plot.posToVal(plot.cursor.left, "x"))]),
      }),
      chart("RR interval against the one before, in s", [rr.before, rr.now], {
        square: true, points: rr,
        click: (plot) => {
          const x = plot.posToVal(plot.cursor.left, "x"), y = plot.posToVal(plot.cursor.top, "y");
          let best = 0, least = Infinity;
          rr.now.forEach((now, at) => {
            const far = (now - y) ** 2 + (rr.before[at] - x) ** 2;
            if (far < least) [best, least] = [at, far];
          });
          app.jump(rr.times[best]);
        },
      }),
    ];
  }

  function chart(title, [x, y], { time, click, line, points, square }) {
    const grid = { stroke: colours.line, width: 1 };
    const axis = { stroke: colours.muted, grid, ticks: { show: false }, font: `11px ${FONT}` };
    const range = points && [0, Math.min(LONGEST_S, Math.max(1.2, 1.1 * quantiles(y, 0.999)[0]))];
    const host = make("figure", {}, make("figcaption", {}, title));
    element.append(host);
    const plot = new uPlot({
      width, height: square ? width : 170, legend: { show: false }, padding: [8, 16, 0, 0],
      cursor: { points: { show: false }, drag: { x: !square, y: false } },
      scales: { x: { time: false, ...(square && { range }) }, y: points ? { range } : {} },
      axes: [{ ...axis, size: 28, ...time, space: 70 }, { ...axis, size: 38 }],
      series: [{}, { show: Boolean(line), stroke: colours.accent, width: 1.3, points: { show: false } }],
      hooks: points && { draw: [(drawn) => dots(drawn, x, y, points)] },
    }, line ? [x, y] : [[0, square ? range[1] : app.state.duration_s], [null, null]], host);
    plot.over.addEventListener("click", () => !plot.select.width && click(plot));
    return plot;
  }
  return { element, draw };
}

function dots(plot, x, y, { classes }) {
  const { ctx: context, bbox: box, scales } = plot, size = DOT * devicePixelRatio;
  const scaleX = box.width / (scales.x.max - scales.x.min), scaleY = box.height / (scales.y.max - scales.y.min);
  context.save();
  context.beginPath();
  context.rect(box.left, box.top, box.width, box.height);
  context.clip();
  for (const own of new Set(classes)) {
    context.fillStyle = classColour(own);
    for (let at = 0; at < classes.length; at++) {
      if (classes[at] !== own) continue;
      const left = box.left + (x[at] - scales.x.min) * scaleX;
      context.fillRect(left - size / 2, box.top + (scales.y.max - y[at]) * scaleY - size / 2, size, size);
    }
  }
  context.restore();
}

/** RR intervals that end in a beat and the ones before them, where signal and beats are to be relied on. */
function intervals(beats) {
  const found = { times: [], now: [], before: [], classes: [] };
  const places = [...beats.keys.keys()].filter((at) => beats.classes[at] !== NONE && !beats.flagged(beats.keys[at]));
  for (let n = 2; n < places.length; n++) {
    const [first, middle, last] = [places[n - 2], places[n - 1], places[n]].map((at) => beats.times[at]);
    if (last - middle > LONGEST_S || middle - first > LONGEST_S) continue;
    found.times.push(last);
    found.now.push(last - middle);
    found.before.push(middle - first);
    found.classes.push(beats.classes[places[n]]);
  }
  return found;
}
