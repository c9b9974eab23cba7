/** Places and quantiles in arrays of numbers. */

/** First place in ascending `values` that is not before `value`. */
export function lowerBound(values, value) {
  let low = 0, high = values.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (values[middle] < value) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Place of what in ascending `values` is nearest to `value`; -1 if there is nothing. */
export function nearest(values, value) {
  const at = lowerBound(values, value);
  if (at === values.length) return at - 1;
  return at > 0 && value - values[at - 1] <= values[at] - value ? at - 1 : at;
}

/** The values below which these parts of all lie, without NaN; 0 if there are none. */
export function quantiles(values, ...parts) {
  const sorted = Float64Array.from(values).filter((value) => !Number.isNaN(value)).sort();
  return parts.map((part) => sorted[Math.round(part * (sorted.length - 1))] ?? 0);
}
