// The status page: asks the exporter's own API, and draws the answers. Every text becomes a text node, never markup.
import {choices, ofFleet} from "./agents.js";
import {fleetCard, choiceLink, healthBadge, sentence} from "./cards.js";
import {RANGES, joined, lastTime} from "./chart.js";
import {el, fill} from "./patch.js";
import {agentsCame, choice, choose, onChoice, seen} from "./state.js";
import {agentsTable, departuresTable} from "./tables.js";
import {asSeen, banner, clock, exporterFacts, exporterTroubles, fleetName, number, summary, title, troubles, worstFirst} from "./view.js";

/** @typedef {import("./view.js").Fleet} Fleet */

const REFRESH_SECONDS = 5;
const TIMEOUT_SECONDS = 10;
const DEPARTURES = 20; // the latest; fleet-exporter ledger lists all

/** @param {string} id of an element of page.html */
const byId = (id) => /** @type {HTMLElement} */ (document.getElementById(id));

// -- drawing ------------------------------------------------------------------------------------------------------------

/**
 * @template T
 * @param {[string, T][]} options text and value
 * @param {T} current
 * @param {(value: T) => void} wanted
 */
const buttons = (options, current, wanted) => options.map(([text, value]) =>
  el("button", {type: "button", key: String(value), "aria-pressed": String(value === current), onclick: () => wanted(value)}, text));

function drawTop() {
  const {text, tone} = summary(seen.fleets), {fleets, more} = troubles(seen.fleets);
  fill(byId("cluster"), seen.exporter?.cluster ?? "");
  fill(byId("summary"), seen.time === null ? "" : el("span", {class: tone}, text));
  fill(byId("troubles"),
    fleets.map((fleet) => el("li", {key: fleetName(fleet)}, healthBadge(fleet),
      el("span", {}, choiceLink({fleet: fleetName(fleet)}, "fleets-title", fleetName(fleet)),
        fleet.problems.length > 0 && `: ${fleet.problems[0]}`, fleet.problems.length > 1 && el("span", {class: "faint"}, `, and ${fleet.problems.length - 1} more`)))),
    more > 0 && el("li", {key: "more"}, `and ${number(more)} fleets more, below`));
  fill(byId("remarks"), [...(seen.exporter ? exporterTroubles(seen.exporter) : []), ...seen.remarks].map((remark) => el("li", {}, sentence(remark))));
  const said = banner(seen.trouble, seen.exporter, seen.time, seen.kept), place = byId("banner");
  fill(place, said);
  place.hidden = !said;
  place.classList.toggle("bad", seen.trouble !== null);
  document.body.classList.toggle("stale", (seen.trouble !== null && seen.time !== null) || seen.kept);
  fill(byId("clock"), seen.time === null ? "" : `as of ${clock(seen.time, true)}`);
  document.title = title(seen.fleets);
}

function drawFleets() {
  fill(byId("ranges"), buttons(RANGES, choice.range, (range) => choose({range})));
  const names = seen.fleets.map(fleetName).sort();
  const picked = names.length > 1 || choice.fleet !== "";
  fill(byId("pick"), picked && el("label", {}, "Fleet ", el("select", {id: "fleet", onchange: (/** @type {Event} */ event) =>
    choose({fleet: /** @type {HTMLSelectElement} */ (event.target).value}, true)},
  [["all", ""], ...[...new Set([...names, choice.fleet])].filter(Boolean).map((name) => [name, name])].map(([text, value]) => el("option", {key: `${value}/`, value}, text)))));
  const select = /** @type {HTMLSelectElement | null} */ (document.getElementById("fleet"));
  if (select && select.value !== choice.fleet) select.value = choice.fleet;
  const shown = ofFleet(worstFirst(seen.fleets), choice.fleet);
  fill(byId("fleets"), shown.length ? shown.map((fleet) => fleetCard(fleet, drawFleets))
    : seen.time === null ? "" : el("p", {class: "table empty"}, choice.fleet ? `There is no fleet ${choice.fleet}.` : "No fleet was found."));
}

function drawTables() {
  const agents = ofFleet(seen.agents, choice.fleet);
  fill(byId("shown"), buttons(choices(agents, choice.show), choice.show, (show) => choose({show})));
  fill(byId("of"), choice.fleet && `of ${choice.fleet}`);
  const search = /** @type {HTMLInputElement} */ (byId("search"));
  if (search.value !== choice.search) search.value = choice.search;
  fill(byId("agents"), agentsTable(seen.fleets[0]?.tasks_per_agent ?? 20));
  fill(byId("departures"), departuresTable());
  fill(byId("exporter"), seen.exporter ? exporterFacts(seen.exporter).map(([term, value]) => el("div", {}, el("dt", {}, term), el("dd", {}, value))) : "");
}

function drawAll() {
  drawTop();
  drawFleets();
  drawTables();
}
onChoice(drawAll);

// Whoever marks text, to copy a pod's name, keeps it: what is shown waits.
function marking() {
  const selection = document.getSelection();
  return selection !== null && !selection.isCollapsed && document.querySelector("main")?.contains(selection.anchorNode);
}

// -- asking -------------------------------------------------------------------------------------------------------------

/** @param {string} path */
async function ask(path) {
  const answer = await fetch(path, {cache: "no-store", signal: AbortSignal.timeout(TIMEOUT_SECONDS * 1000)});
  if (!answer.ok) throw new Error(`HTTP ${answer.status}`);
  return answer.json();
}

async function update() {
  // Only the points since the last ones are requested.
  const since = seen.historyAt ? `?since=${seen.historyAt}` : "";
  const first = Promise.all([ask("api/v1/exporter"), ask("api/v1/fleets")]);
  const [namespace, fleet] = choice.fleet.split("/"), of = choice.fleet ? `&${new URLSearchParams({namespace, fleet})}` : "";
  const rest = Promise.all([ask("api/v1/agents"), ask(`api/v1/departures?latest=${DEPARTURES}${of}`), ask(`api/v1/history${since}`)]);
  rest.catch(() => {}); // it is awaited below, unless the first fails
  /** @type {[import("./view.js").ExporterDocument, import("./view.js").FleetsDocument]} */
  const [exporter, {fleets, remarks, time_seconds: now}] = await first;
  const ready = exporter.not_ready_reason === null, opening = seen.time === null;
  Object.assign(seen, {exporter, trouble: null});
  // An exporter that was just restarted knows less than an open page does.
  seen.kept = !ready && !opening && (seen.kept || readyOnce);
  if (seen.kept) return;
  readyOnce ||= ready;
  Object.assign(seen, {fleets: fleets.map((fleet) => asSeen(fleet, ready)), remarks});
  // The first card is drawn before the long answers have come.
  if (opening) {
    seen.time = now;
    drawTop();
    drawFleets();
  }
  /** @type {[import("./view.js").AgentsDocument, import("./view.js").DeparturesDocument, import("./view.js").HistoryDocument]} */
  const [{agents, time_seconds: time}, {departures, since_time_seconds: departuresSince, lost_in_a_day: lost}, {history}] = await rest;
  Object.assign(seen, {
    agents, departures, departuresSince, lost, time,
    history: joined(since ? seen.history : new Map(), history, time), historyAt: lastTime(history, seen.historyAt, time),
  });
  agentsCame();
  if (!marking()) drawAll();
}
let readyOnce = false;

async function poll() {
  try {
    await update();
  } catch (error) {
    const {name, message} = /** @type {Error} */ (error);
    seen.trouble = name === "TimeoutError" ? `nothing came for ${TIMEOUT_SECONDS} s` : message;
  }
  drawTop();
  if (document.hidden) await new Promise((shown) => { document.addEventListener("visibilitychange", shown, {once: true}); });
  else await new Promise((over) => { setTimeout(over, REFRESH_SECONDS * 1000); });
  poll();
}

byId("search").addEventListener("input", (event) => choose({search: /** @type {HTMLInputElement} */ (event.target).value}));
poll();
