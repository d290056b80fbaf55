// Small column charts, with a description of their values for screen readers.

import { svg } from "./dom.js";

const height = 128;
const top = 18; // pixels for the highest value
const bottom = 18; // pixels for the columns' names
const letter = 8; // the largest width of a letter in pixels, with space between names
const widest = 72; // the largest width of a column in pixels

/** @typedef {{name: string, value: number}} Column */

/**
 * Draws columns whose values are parts of a whole.
 * @param {HTMLElement} host
 * @param {string} title
 * @param {Column[]} columns
 */
export function columns(host, title, columns) {
  const words = columns.filter(({ value }) => value > 0).map(({ name, value }) => `${name}: ${value}`).join(", ");
  const { width, chart } = canvas(host, `${title}. ${words || "Nothing yet"}.`);
  const most = Math.max(1, ...columns.map(({ value }) => value));
  const step = width / columns.length;
  const wide = Math.min(step - 2, widest);
  const every = Math.ceil((letter * Math.max(...columns.map(({ name }) => name.length))) / step);
  for (const [i, { name, value }] of columns.entries()) {
    const middle = (i + 0.5) * step;
    chart.append(column(middle - wide / 2, wide, value / most));
    if (value > 0) chart.append(text(middle, height - bottom - 5 - room * (value / most), String(value), "middle"));
    if (i % every) continue;
    if (every === 1 || (i > 0 && i < columns.length - 1)) chart.append(text(middle, height - 4, name, "middle"));
    else chart.append(i ? text(width, height - 4, name, "end") : text(0, height - 4, name, "start"));
  }
}

/**
 * Draws a column for each second, the last one at the right.
 * @param {HTMLElement} host
 * @param {string} words
 * @param {number[]} values
 */
export function history(host, words, values) {
  const { width, chart } = canvas(host, words);
  const most = Math.max(1, ...values);
  const step = width / values.length;
  for (const [i, value] of values.entries()) {
    if (value > 0) chart.append(column(i * step, Math.max(1.5, step - 1), value / most));
  }
  chart.append(
    text(0, 11, `${most} a second`, "start"),
    text(0, height - 4, `${values.length / 60} min ago`, "start"),
    text(width, height - 4, "now", "end"),
  );
}

const room = height - top - bottom;

/**
 * @param {HTMLElement} host
 * @param {string} words
 */
function canvas(host, words) {
  const width = host.clientWidth || 300;
  const chart = svg("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": words });
  chart.append(svg("line", { x1: 0, x2: width, y1: height - bottom + 0.5, y2: height - bottom + 0.5 }));
  host.replaceChildren(chart);
  return { width, chart };
}

/**
 * @param {number} x
 * @param {number} width
 * @param {number} share of the highest
 */
function column(x, width, share) {
  const tall = share > 0 ? Math.max(2, room * share) : 0;
  return svg("rect", { x, y: height - bottom - tall, width: Math.max(1, width), height: tall, rx: Math.min(3, width / 3) });
}

/**
 * @param {number} x
 * @param {number} y
 * @param {string} words
 * @param {string} anchor
 */
const text = (x, y, words, anchor) => svg("text", { x, y, "text-anchor": anchor }, words);
