/** Light and dark: the choice of the user or of the system, and the colours of the style sheet for canvases. */

import { recall, remember } from "./dom.js";

const NAMES = ["ink", "muted", "line", "surface", "background", "accent", "warn", "ecg-grid", "ecg-fine", "trace"];
export const FONT = '"Helvetica Neue", "Segoe UI", Roboto, "Noto Sans", "Liberation Sans", Arial, sans-serif';

/** Colours by name, and those of the classes in their order. */
export const colours = { classes: [] };

const dark = matchMedia("(prefers-color-scheme: dark)");

function read() {
  const probe = document.body.appendChild(document.createElement("i"));
  const of = (name) => {
    probe.style.color = `var(--${name})`;
    return getComputedStyle(probe).color;
  };
  for (const name of NAMES) colours[name] = of(name);
  colours.classes = [0, 1, 2, 3, 4].map((place) => of(`class-${place}`));
  probe.remove();
}

/** A class's colour for the style of an element, which follows the theme. */
export const classStyle = (place) => (place < 0 ? "var(--muted)" : `var(--class-${place % 5})`);

/** A class's colour for a canvas. */
export const classColour = (place) => (place < 0 ? colours.muted : colours.classes[place % 5]);

/** Follow the choice that was made before, or the system's; `changed` after every change. */
export function startTheme(changed) {
  const chosen = recall("theme");
  if (chosen) document.documentElement.style.colorScheme = chosen;
  dark.addEventListener("change", () => {
    read();
    changed();
  });
  read();
}

export function toggleTheme(changed) {
  const now = document.documentElement.style.colorScheme || (dark.matches ? "dark" : "light");
  const next = now === "dark" ? "light" : "dark";
  document.documentElement.style.colorScheme = next;
  remember("theme", next);
  read();
  changed();
}
