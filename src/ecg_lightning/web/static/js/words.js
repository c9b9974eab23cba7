/** Times, numbers and sentences as users read them. */

const two = (number) => String(number).padStart(2, "0");

/** Seconds as h:mm:ss, with decimals. */
export function elapsed(seconds, digits = 0) {
  const unit = 10 ** digits, whole = Math.round(Math.max(seconds, 0) * unit);
  const s = Math.floor(whole / unit), rest = digits ? `.${String(whole % unit).padStart(digits, "0")}` : "";
  return `${Math.floor(s / 3600)}:${two(Math.floor(s / 60) % 60)}:${two(s % 60)}${rest}`;
}

const beginning = (start) => Date.parse(/Z$|[+-]\d\d:?\d\d$/.test(start) ? start : `${start}Z`);

/** Time of day where the recording states its start, else the time since its start. */
export function clock(seconds, start, digits = 0) {
  if (!start) return elapsed(seconds, digits);
  const unit = 10 ** (3 - digits), at = new Date(Math.round((beginning(start) + 1000 * seconds) / unit) * unit);
  const days = Math.floor(at / 864e5) - Math.floor(beginning(start) / 864e5);
  return at.toISOString().slice(11, digits ? 20 + digits : 19) + (days ? ` +${days} d` : "");
}

/** What a user types: h:mm:ss, m:ss or seconds; a time of day counts if it is in the recording. NaN if it is none. */
export function parseTime(text, start, duration) {
  const parts = text.trim().split(":").map((part) => (/^\d+([.,]\d+)?$/.test(part) ? +part.replace(",", ".") : NaN));
  if (parts.length > 3) return NaN;
  const seconds = parts.reduce((sum, part) => 60 * sum + part, 0);
  if (start && parts.length > 1) {
    const clockTime = parts.length === 2 ? 60 * seconds : seconds; // of a day one says 12:03
    const since = (((clockTime - beginning(start) / 1000) % 86400) + 86400) % 86400;
    if (since <= duration) return since;
  }
  return seconds;
}

export const count = (number) => number.toLocaleString("en");
export const plural = (number, word) => `${count(number)} ${word}${number === 1 ? "" : "s"}`;
export const fixed = (number, digits = 0) => (number == null || Number.isNaN(number) ? "–" : number.toFixed(digits));
export const percent = (part) => (part == null ? "–" : `${(100 * part).toFixed(part < 0.1 ? 1 : 0)} %`);
