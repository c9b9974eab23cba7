/** A listbox that may have a hundred thousand rows: only those in sight are elements. */

import { eachFrame, make } from "./dom.js";

const ROW = 30; // pixels, as in the style sheet

export class List {
  /** @param row gives the children of a row for an item, @param pick is called with the item that is chosen */
  constructor(label, row, pick) {
    Object.assign(this, { row, pick, items: [], active: -1 });
    this.space = make("div", { role: "presentation" });
    this.element = make("div", { class: "list", role: "listbox", tabindex: 0, "aria-label": label }, this.space);
    this.id = `list-${label.toLowerCase().replaceAll(" ", "-")}`;
    this.draw = eachFrame(() => this.render());
    this.element.addEventListener("scroll", this.draw);
    new ResizeObserver(this.draw).observe(this.element);
    this.element.addEventListener("keydown", (event) => this.key(event));
    this.element.addEventListener("click", (event) => {
      const place = event.target.closest("[role=option]")?.dataset.place;
      if (place !== undefined) this.choose(+place);
    });
  }

  show(items) {
    this.items = items;
    this.active = Math.min(this.active, items.length - 1);
    this.space.style.height = `${ROW * items.length}px`;
    this.draw();
  }

  render() {
    const { scrollTop, clientHeight } = this.element;
    const first = Math.max(0, Math.floor(scrollTop / ROW) - 5), stop = Math.ceil((scrollTop + clientHeight) / ROW) + 5;
    this.space.replaceChildren(...this.items.slice(first, stop).map((item, at) => {
      const place = first + at;
      const element = make("div", {
        role: "option", id: `${this.id}-${place}`, "aria-selected": String(place === this.active),
        "aria-setsize": this.items.length, "aria-posinset": place + 1, "data-place": place,
      }, ...this.row(item));
      element.style.top = `${ROW * place}px`;
      return element;
    }));
    if (this.active >= 0) this.element.setAttribute("aria-activedescendant", `${this.id}-${this.active}`);
  }

  choose(place) {
    if (!this.items.length) return;
    this.active = Math.min(Math.max(place, 0), this.items.length - 1);
    const top = ROW * this.active, { scrollTop, clientHeight } = this.element;
    if (top < scrollTop) this.element.scrollTop = top;
    else if (top + ROW > scrollTop + clientHeight) this.element.scrollTop = top + ROW - clientHeight;
    this.draw();
    this.pick(this.items[this.active]);
  }

  key(event) {
    const page = Math.floor(this.element.clientHeight / ROW);
    const to = {
      ArrowDown: this.active + 1, ArrowUp: this.active - 1, PageDown: this.active + page, PageUp: this.active - page,
      Home: 0, End: this.items.length - 1, Enter: this.active, " ": this.active,
    }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    event.stopPropagation();
    this.choose(to);
  }
}
