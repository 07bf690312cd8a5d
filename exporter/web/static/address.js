// What a reader chose, as it is in the page's address: so that a reload keeps it, and a colleague who is sent it sees the same.
// Pure: no DOM, no network, no clock.
import {RANGES} from "./chart.js";
import {COLUMNS} from "./agents.js";

/**
 * `fleet` is `namespace/name` or "" for all; `show` a choice of agents; `sort` a column, with "-" from its greatest value, or "".
 *
 * @typedef {{fleet: string, search: string, range: number, show: string, sort: string}} Choice
 */

/** @type {Choice} */
export const USUAL = {fleet: "", search: "", range: 3600, show: "attention", sort: ""};

/** @param {string} query of an address @returns {Choice} what it does not say, or says wrongly, is as usual */
export function chosenIn(query) {
  const said = new URLSearchParams(query);
  const range = Number(said.get("range")), sort = said.get("sort") ?? "";
  return {
    fleet: said.get("fleet") ?? USUAL.fleet,
    search: said.get("search") ?? USUAL.search,
    range: RANGES.some(([, seconds]) => seconds === range) ? range : USUAL.range,
    show: said.get("show") ?? USUAL.show,
    sort: COLUMNS.some(({id}) => id === sort.replace(/^-/, "")) ? sort : USUAL.sort,
  };
}

/** @param {Partial<Choice>} choice @returns {string} a query for an address, "?" where everything is as usual */
export function queryOf(choice) {
  const said = new URLSearchParams();
  for (const [name, value] of Object.entries({...USUAL, ...choice})) {
    if (value !== USUAL[/** @type {keyof Choice} */ (name)]) said.set(name, String(value));
  }
  return `?${said.toString().replaceAll("%2F", "/")}`;
}

/** @param {string} alert @param {Record<string, string>} names that the runbook's commands then have @returns {string} where its runbook is */
export const runbookOf = (alert, names) => `runbooks/${alert}?${new URLSearchParams(names)}`;
