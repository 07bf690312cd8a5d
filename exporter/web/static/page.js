// The status page: asks the exporter's own API and draws what view.js and chart.js make of the answers. Every text becomes a
// text node, never markup.
import {RANGES, chart, joined, lastTime, losses, lostLine} from "./chart.js";
import {
  TONE, MEANING, agentTone, banner, chosen, clock, departure, figures, fleetName, forecastLine, load, memory, noAgents, noDepartures,
  number, scalerLine, states, title,
} from "./view.js";

/** @typedef {import("./view.js").Fleet} Fleet */
/** @typedef {import("./view.js").Agent} Agent */
/** @typedef {import("./view.js").Departure} Departure */
/** @typedef {import("./view.js").Points} Points */

const REFRESH_SECONDS = 5;
const TIMEOUT_SECONDS = 10;
const MOST_ROWS = 200; // drawn at once; a thousand would make each refresh felt
/** @type {Record<string, number | null>} steps in a chart; null ends the selection */
const KEYS = {ArrowLeft: -1, ArrowRight: 1, Home: -60, End: 60, Escape: null};
const DEPARTURES = 20; // the latest; fleet-exporter ledger lists all

const seen = {
  fleets: /** @type {Fleet[]} */ ([]),
  remarks: /** @type {string[]} */ ([]),
  agents: /** @type {Agent[]} */ ([]),
  departures: /** @type {Departure[]} */ ([]),
  departuresSince: /** @type {number | null} */ (null),
  history: /** @type {Map<string, Points>} */ (new Map()),
  historyAt: 0,
  time: /** @type {number | null} */ (null),
  notReady: /** @type {string | null} */ (null),
  trouble: /** @type {string | null} */ (null),
};
const wish = {
  range: 3600, all: false, search: "", rows: MOST_ROWS,
  selected: /** @type {{fleet: string, time: number} | null} */ (null), // in a chart, by the pointer or the keyboard
};

// -- building -----------------------------------------------------------------------------------------------------------

/**
 * @template {Element} T
 * @param {T} element
 * @param {Record<string, string | boolean | null>} attributes null and false are left out
 * @param {(Node | string | null)[]} children
 */
function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}
/** @param {string} tag @param {Record<string, string | boolean | null>} attributes @param {(Node | string | null)[]} children */
const el = (tag, attributes = {}, ...children) => fill(document.createElement(tag), attributes, children);
/** @param {string} tag @param {Record<string, string | null>} attributes @param {(Node | null)[]} children */
const svg = (tag, attributes, ...children) =>
  fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
/** @param {string} id of an element of page.html */
const byId = (id) => /** @type {HTMLElement} */ (document.getElementById(id));

// -- fleets -------------------------------------------------------------------------------------------------------------

/** @param {Fleet} fleet */
function fleetCard(fleet) {
  const name = fleetName(fleet);
  const lost = lostLine(losses(seen.history.get(name), seen.time ?? 0, wish.range), wish.range);
  const sentences = [...(fleet.trusted ? fleet.problems : []), ...fleet.remarks];
  return el("article", {class: fleet.trusted ? "fleet" : "fleet untrusted", "data-fleet": name},
    el("header", {},
      el("h3", {}, name),
      fleet.trusted
        ? el("span", {class: "badge good"}, "trusted")
        : el("span", {class: "badge bad"}, "not trusted")),
    fleet.trusted ? null : el("p", {class: "why"}, `${fleet.untrusted_reason}. Its demand is withheld from every scaler.`),
    lost ? el("p", {class: "why"}, lost) : null,
    sentences.length ? el("ul", {class: "remarks"}, ...sentences.map((remark) => el("li", {}, remark))) : null,
    loadBar(fleet),
    el("dl", {class: "figures"}, ...figures(fleet).map(({term, meaning, value, rest, withheld}) => el("div", {title: meaning},
      el("dt", {}, term), el("dd", {class: withheld ? "withheld" : null}, value, rest ? el("small", {}, ` ${rest}`) : null)))),
    el("ul", {class: "states"}, ...states(fleet).map(([state, count]) => el("li", {class: `dot ${TONE[state]}`}, `${count} ${state}`))),
    scalers(fleet),
    chartFigure(fleet));
}

/** @param {Fleet} fleet @returns null where it is not known what scales it, which is not the same as that nothing does */
function scalers(fleet) {
  if (fleet.scalers === null) return null;
  if (!fleet.scalers.length) return el("p", {class: "scalers"}, "no HPA scales it");
  return el("ul", {class: "scalers"}, ...fleet.scalers.map((scaler) => el("li", {title: MEANING.scaler}, scalerLine(scaler),
    scaler.active?.holds === false ? el("span", {class: "inactive"}, ", not active") : null)));
}

/** @param {Fleet} fleet */
function loadBar(fleet) {
  const bar = load(fleet);
  if (bar === null) return el("div", {class: "bar unknown", role: "img", "aria-label": "how much runs is not known"});
  // A style attribute is what the page's policy forbids, a property is not.
  const part = (/** @type {string} */ kind, /** @type {"width" | "left"} */ side, /** @type {string} */ length) => {
    const span = el("span", {class: kind});
    span.style[side] = length;
    return span;
  };
  return el("div", {class: "bar", role: "img", "aria-label": bar.label, title: bar.label},
    part("running", "width", `${bar.running}%`),
    part("queued", "width", `${bar.queued}%`),
    bar.limit === null ? null : part("limit", "left", `calc(${bar.limit}% - 1px)`));
}

/** @param {Fleet} fleet */
function chartFigure(fleet) {
  const name = fleetName(fleet), said = forecastLine(fleet, seen.time);
  const forecast = said && el("p", {class: said.doubtful ? "outlook doubtful" : "outlook faint", title: MEANING.outlook}, said.text);
  const drawn = seen.time === null ? null : chart(seen.history.get(name), seen.time, wish.range, fleet.forecast?.lead_time_seconds ?? null);
  if (drawn === null) return el("figure", {class: "chart"}, el("p", {class: "faint"}, "The chart begins once there are two points."), forecast);
  const legend = el("figcaption", {class: "legend", "aria-live": "polite"});
  const cursor = svg("path", {class: "cursor", d: ""});
  const {ahead} = drawn;
  const picture = svg("svg", {viewBox: drawn.box, preserveAspectRatio: "none", role: "img", tabindex: "0", "aria-label": drawn.label},
    ...(ahead === null ? [] : [svg("path", {class: "ground", d: ahead.ground}), svg("path", {class: "band", d: ahead.band})]),
    svg("path", {class: "axis", d: drawn.axis}),
    drawn.lost ? svg("path", {class: "lost", d: drawn.lost}) : null,
    ...drawn.lines.flatMap(({kind, path, area}) => [area === null ? null : svg("path", {class: "area", d: area}), svg("path", {class: kind, d: path})]),
    ...(ahead === null ? [] : [svg("path", {class: "expected", d: ahead.edge}), svg("path", {class: "now", d: ahead.now})]),
    cursor);
  const show = (/** @type {number | null} */ index) => {
    const {head, entries} = drawn.legend(index);
    cursor.setAttribute("d", index === null ? "" : drawn.cursor(index));
    legend.replaceChildren(el("span", {}, head), ...entries.map(([kind, text]) =>
      el("span", {class: kind, title: kind === "forecast" || kind === "expected" ? MEANING[kind] : null}, el("i"), text)));
  };
  const select = (/** @type {number | null} */ index) => {
    wish.selected = index === null ? null : {fleet: name, time: drawn.time(index)};
    show(index);
  };
  const selected = () => (wish.selected?.fleet === name ? drawn.at(wish.selected.time) : null);
  show(selected());
  picture.addEventListener("pointermove", (event) => {
    const box = picture.getBoundingClientRect();
    select(drawn.nearest((/** @type {PointerEvent} */ (event).clientX - box.left) / box.width));
  });
  picture.addEventListener("pointerleave", () => select(null));
  picture.addEventListener("blur", () => { if (picture.isConnected) select(null); });
  picture.addEventListener("keydown", (event) => {
    const {key, altKey, ctrlKey, metaKey} = /** @type {KeyboardEvent} */ (event);
    const steps = KEYS[key];
    if (steps === undefined || altKey || ctrlKey || metaKey) return;
    event.preventDefault();
    select(steps === null ? null : drawn.moved(selected(), steps));
  });
  // Text of the picture would be stretched with it.
  const mark = (/** @type {string} */ kind, /** @type {string} */ text, share = 0) => {
    const span = el("span", {class: `mark ${kind}`, "aria-hidden": "true"}, text);
    span.style.left = `${100 * share}%`;
    return span;
  };
  const marks = ahead === null ? [] : [mark("label", "expected", ahead.share), mark("here", "now", ahead.share), mark("end", ahead.end, 1)];
  return el("figure", {class: "chart"}, el("div", {class: ahead === null ? "picture" : "picture ahead"}, picture, ...marks), legend, forecast);
}

// -- agents -------------------------------------------------------------------------------------------------------------

/** @param {Agent[]} agents */
function agentsTable(agents) {
  if (!agents.length) {
    const {text, good} = noAgents(seen.agents.length, wish.search);
    return el("p", {class: good ? "table empty good" : "table empty"}, text);
  }
  const rows = agents.slice(0, wish.rows).map(agentRow);
  const more = el("button", {type: "button"}, `Show ${Math.min(MOST_ROWS, agents.length - wish.rows)} more of ${agents.length}`);
  more.addEventListener("click", () => { wish.rows += MOST_ROWS; drawAgents(); });
  const heads = ["Agent", "State", "Tasks", "Queued", "Memory", "Version", "Why"];
  const classes = [null, null, "number", "number spare", "number spare", "spare", null];
  const table = el("table", {},
    el("thead", {}, el("tr", {}, ...heads.map((head, at) => el("th", {scope: "col", class: classes[at]}, head)))),
    el("tbody", {}, ...rows));
  return el("div", {}, el("div", {class: "table"}, table), agents.length > wish.rows ? el("p", {class: "more choice"}, more) : null);
}

/** @param {Agent} agent */
function agentRow(agent) {
  const old = agent.fresh ? "" : " faint";
  return el("tr", {},
    el("td", {}, agent.pod, el("div", {class: "faint"}, fleetName(agent))),
    el("td", {class: "state"}, el("span", {class: `dot ${agentTone(agent)}`}, agent.state)),
    el("td", {class: `number${old}`}, number(agent.tasks_active)),
    el("td", {class: `number spare${old}`}, agent.tasks_queued === null ? "–" : number(agent.tasks_queued)),
    el("td", {class: `number spare${old}`}, memory(agent) ?? "–"),
    el("td", {class: "faint spare"}, agent.version || "–"),
    el("td", {class: "reason"}, agent.reason));
}

// -- departures ---------------------------------------------------------------------------------------------------------

function departuresTable() {
  if (!seen.departures.length) return el("p", {class: "table empty"}, noDepartures(seen.departuresSince));
  const heads = ["Agent", "End", "Lost", "Of", "Cause", "Left"];
  const classes = [null, null, "number", "number spare", "spare", "spare"];
  const rows = seen.departures.toReversed().map((one) => {
    const {when, cause, tasks, lost, end, tone} = departure(one);
    return el("tr", {},
      el("td", {}, one.pod, el("div", {class: "faint"}, fleetName(one))),
      el("td", {class: "state"}, el("span", {class: `dot ${tone}`}, end)),
      el("td", {class: "number"}, lost),
      el("td", {class: "number spare"}, tasks),
      el("td", {class: "spare"}, cause),
      el("td", {class: "faint spare"}, when));
  });
  return el("div", {class: "table"}, el("table", {},
    el("thead", {}, el("tr", {}, ...heads.map((head, at) => el("th", {scope: "col", class: classes[at]}, head)))),
    el("tbody", {}, ...rows)));
}

// -- drawing ------------------------------------------------------------------------------------------------------------

/**
 * Buttons stay what they are from one poll to the next, so that the keyboard's focus stays where it is.
 *
 * @template T
 * @param {string} id
 * @param {[string, T][]} options
 * @param {T} current
 * @param {(value: T) => void} choose
 */
function choice(id, options, current, choose) {
  const group = byId(id);
  while (group.children.length < options.length) group.append(el("button", {type: "button"}));
  options.forEach(([text, value], at) => {
    const button = /** @type {HTMLButtonElement} */ (group.children[at]);
    if (button.textContent !== text) button.textContent = text;
    button.setAttribute("aria-pressed", String(value === current));
    button.onclick = () => choose(value);
  });
}

// Whoever marks text, to copy a pod's name, keeps it: what is shown waits.
function marking() {
  const selection = document.getSelection();
  return selection !== null && !selection.isCollapsed && document.querySelector("main")?.contains(selection.anchorNode);
}

function drawFleets() {
  choice("ranges", RANGES, wish.range, (range) => { wish.range = range; drawFleets(); });
  byId("remarks").replaceChildren(...seen.remarks.map((remark) => el("li", {}, remark)));
  const focused = document.activeElement?.closest(".chart") ? document.activeElement.closest(".fleet") : null;
  byId("fleets").replaceChildren(...(seen.fleets.length ? seen.fleets.map(fleetCard) : [el("p", {class: "table empty"}, "No fleet was found.")]));
  // The keyboard's focus stays on the chart that it is on, though that is a new one.
  const again = focused && [...document.querySelectorAll(".fleet")].find((card) => card.getAttribute("data-fleet") === focused.getAttribute("data-fleet"));
  again?.querySelector("svg")?.focus({preventScroll: true});
}

function drawAgents() {
  const needing = seen.agents.filter((agent) => agent.needs_attention).length;
  choice("shown", [[`Need attention (${needing})`, false], [`All (${seen.agents.length})`, true]], wish.all, (all) => {
    wish.all = all;
    wish.rows = MOST_ROWS;
    drawAgents();
  });
  byId("agents").replaceChildren(agentsTable(chosen(seen.agents, wish.all, wish.search)));
  document.title = title(needing);
}

function drawDepartures() {
  byId("departures").replaceChildren(departuresTable());
}

function drawState() {
  const place = byId("banner"), text = banner(seen.trouble, seen.notReady, seen.time);
  if (place.textContent !== text) place.textContent = text;
  place.hidden = !text;
  document.body.classList.toggle("stale", seen.trouble !== null && seen.time !== null);
  byId("clock").textContent = seen.time === null ? "" : `as of ${clock(seen.time, true)}`;
}

// -- asking -------------------------------------------------------------------------------------------------------------

/** @param {string} path */
async function ask(path, accepted = [200]) {
  const answer = await fetch(path, {cache: "no-store", signal: AbortSignal.timeout(TIMEOUT_SECONDS * 1000)});
  if (!accepted.includes(answer.status)) throw new Error(`HTTP ${answer.status}`);
  return answer;
}

async function notReadyReason() {
  const answer = await ask("readyz", [200, 503]);
  return answer.status === 200 ? null : (await answer.text()).trim();
}

async function update() {
  /** @type {[import("./view.js").FleetsDocument, import("./view.js").AgentsDocument, string | null, import("./view.js").DeparturesDocument]} */
  const [{fleets, remarks}, {agents, time_seconds: time}, notReady, {departures, since_time_seconds: departuresSince}] = await Promise.all([
    ask("api/v1/fleets").then((answer) => answer.json()),
    ask("api/v1/agents").then((answer) => answer.json()),
    notReadyReason(),
    ask(`api/v1/departures?latest=${DEPARTURES}`).then((answer) => answer.json()),
  ]);
  // Only the points since the last ones are requested.
  const since = seen.historyAt ? `?since=${seen.historyAt}` : "";
  /** @type {import("./view.js").HistoryDocument} */
  const {history} = await (await ask(`api/v1/history${since}`)).json();
  Object.assign(seen, {
    fleets, remarks, agents, departures, departuresSince, time, notReady, trouble: null,
    history: joined(seen.history, history, time), historyAt: lastTime(history, seen.historyAt),
  });
  if (!marking()) {
    drawFleets();
    drawAgents();
    drawDepartures();
  }
}

async function poll() {
  try {
    await update();
  } catch (error) {
    const {name, message} = /** @type {Error} */ (error);
    seen.trouble = name === "TimeoutError" ? `nothing came for ${TIMEOUT_SECONDS} s` : message;
  }
  drawState();
  if (document.hidden) await new Promise((shown) => { document.addEventListener("visibilitychange", shown, {once: true}); });
  else await new Promise((over) => { setTimeout(over, REFRESH_SECONDS * 1000); });
  poll();
}

byId("search").addEventListener("input", (event) => {
  wish.search = /** @type {HTMLInputElement} */ (event.target).value;
  wish.rows = MOST_ROWS;
  drawAgents();
});
poll();
