// What the page has been told, and what its reader chose; shared by the modules that draw.
import {chosenIn, queryOf} from "./address.js";
import {chart} from "./chart.js";
import {fleetName} from "./view.js";

/** @typedef {import("./view.js").Agent} Agent */
/** @typedef {import("./view.js").Departure} Departure */
/** @typedef {import("./view.js").Fleet} Fleet */
/** @typedef {import("./view.js").Points} Points */
/** @typedef {import("./address.js").Choice} Choice */

export const MOST_ROWS = 200; // drawn at once; a thousand would make each refresh felt

export const seen = {
  fleets: /** @type {Fleet[]} */ ([]),
  remarks: /** @type {string[]} */ ([]),
  agents: /** @type {Agent[]} */ ([]),
  departures: /** @type {Departure[]} */ ([]),
  departuresSince: /** @type {number | null} */ (null),
  lost: /** @type {import("./view.js").Loss[]} */ ([]),
  history: /** @type {Map<string, Points>} */ (new Map()),
  historyAt: 0,
  exporter: /** @type {import("./view.js").ExporterDocument | null} */ (null),
  time: /** @type {number | null} */ (null),
  trouble: /** @type {string | null} */ (null),
  kept: false, // whether what is shown is from before the exporter's restart
  selected: /** @type {{fleet: string, time: number, stays: boolean} | null} */ (null), // in a chart, by the pointer or the keyboard
};

/** @type {Choice} */
export const choice = chosenIn(location.search);
/** What is opened: it is not worth an address. */
export const opened = {rows: MOST_ROWS, groups: /** @type {Set<string>} */ (new Set())};

/** @type {() => void} draws everything that depends on the choice */
let draw = () => {};
/** @param {() => void} all */
export const onChoice = (all) => { draw = all; };

/** @param {Partial<Choice>} wanted @param {boolean} leads whether the browser's back button returns to what was before */
export function choose(wanted, leads = false) {
  Object.assign(choice, wanted);
  if (Object.keys(wanted).some((name) => name !== "range")) opened.rows = MOST_ROWS;
  const address = queryOf(choice);
  if (address !== (location.search || "?")) {
    history[leads ? "pushState" : "replaceState"](null, "", `${address === "?" ? location.pathname : address}${leads ? "" : location.hash}`);
  }
  draw();
}
addEventListener("popstate", () => choose(chosenIn(location.search)));

/** @param {Partial<Choice>} wanted @param {string} place @returns {(event: MouseEvent) => void} */
export const follow = (wanted, place) => (event) => {
  if (event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  choose({search: "", sort: "", ...wanted}, true);
  document.getElementById(place)?.scrollIntoView();
};

/** @type {Map<string, Agent[]>} */
let byFleet = new Map();
/** Sorts the agents by their fleets, once for each answer. */
export const agentsCame = () => { byFleet = Map.groupBy(seen.agents, fleetName); };
/** @param {string} name of a fleet */
export const agentsOf = (name) => byFleet.get(name) ?? [];
/** @param {string} name of a fleet */
export const lostOf = (name) => seen.lost.find((loss) => fleetName(loss) === name)?.tasks_lost ?? 0;

/** @type {Map<string, {of: unknown[], drawn: ReturnType<typeof chart>}>} */
const charts = new Map();
const MOVES_SECONDS = 60; // without a point, a chart moves on that often
/** @param {Fleet} fleet @returns its chart; it is made anew only where something in it has changed: a point comes in every third answer */
export function chartOf(fleet) {
  const name = fleetName(fleet), points = seen.history.get(name), lead = fleet.forecast?.lead_time_seconds ?? null;
  if (seen.time === null) return null;
  const times = points?.time_seconds ?? [], moved = Math.floor(seen.time / MOVES_SECONDS);
  const of = [times.length, times.at(-1), choice.range, lead, moved, JSON.stringify([points?.ahead, points?.stored])], before = charts.get(name);
  if (before && of.every((value, at) => value === before.of[at])) return before.drawn;
  const drawn = chart(points, seen.time, choice.range, lead, -60 * new Date(seen.time * 1000).getTimezoneOffset());
  charts.set(name, {of, drawn});
  return drawn;
}
