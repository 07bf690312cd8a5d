// The status page: asks the exporter's own API and draws what it says. Nothing here judges: which agents need attention,
// why, and what is withheld are the exporter's words. Every text becomes a text node, never markup.
"use strict";

const REFRESH_SECONDS = 5;
const HISTORY_SECONDS = 15; // the exporter takes a point that often
const TIMEOUT_SECONDS = 10;
const MOST_ROWS = 200; // drawn at once; a thousand would make each refresh felt
const RANGES = [["15 min", 900], ["1 h", 3600], ["6 h", 21600]];
const STATES = ["serving", "unreachable", "disconnected", "stopped", "starting", "draining"];
const URGENCY = ["unreachable", "disconnected", "stopped", "starting", "serving", "draining"];
const TONE = {serving: "good", starting: "doubtful", draining: "faint", unreachable: "bad", disconnected: "bad", stopped: "bad"};
const LINES = [["capacity", "capacity_tasks"], ["running", "tasks_active"], ["queued", "tasks_queued"], ["demand", "demand_tasks"]];

const MEANING = {
  running: "tasks running, of what the serving agents can run at once",
  free: "slots of serving agents that no task has; ≤ where neither CPU nor memory is known, which may keep them from being used",
  queued: "tasks that wait for a slot; ? where no agent reports a queue",
  held: "tasks assumed on agents that cannot be seen, so that the fleet is not shrunk",
  demand: "tasks the fleet should have room for: what a scaler is told",
  wanted: "agents it takes for the demand at the target load; an HPA tolerates 10 % around it, and keeps to its minimum and maximum",
  scaler: "what sets the number of agents: fewest and most, and how many it last decided on",
};

const seen = {fleets: [], remarks: [], agents: [], history: new Map(), time: null, notReady: null, trouble: null, historyAt: 0};
const wish = {range: 3600, all: false, search: "", rows: MOST_ROWS};

// -- building -----------------------------------------------------------------------------------------------------------

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}
const el = (tag, attributes = {}, ...children) => fill(document.createElement(tag), attributes, children);
const svg = (tag, attributes = {}, ...children) =>
  fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
const byId = (id) => document.getElementById(id);
const number = (value) => (value === null || value === undefined ? "?" : String(Math.round(value * 10) / 10));
const percent = (part, whole) => (part === null || !whole ? null : `${Math.round((100 * part) / whole)} %`);
const plural = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;
const clock = (seconds, withSeconds = false) =>
  new Date(seconds * 1000).toLocaleTimeString([], {hour: "2-digit", minute: "2-digit", second: withSeconds ? "2-digit" : undefined});

// -- fleets -------------------------------------------------------------------------------------------------------------

function fleetCard(fleet) {
  const name = `${fleet.namespace}/${fleet.fleet}`;
  return el("article", {class: fleet.trusted ? "fleet" : "fleet untrusted", "data-fleet": name},
    el("header", {},
      el("h3", {}, name),
      fleet.trusted
        ? el("span", {class: "badge good"}, "trusted")
        : el("span", {class: "badge bad"}, "not to be trusted")),
    fleet.trusted ? null : el("p", {class: "why"}, `${fleet.untrusted_reason}. Its demand is withheld from every scaler.`),
    fleet.remarks.length ? el("ul", {class: "remarks"}, ...fleet.remarks.map((remark) => el("li", {}, remark))) : null,
    loadBar(fleet),
    figures(fleet),
    el("ul", {class: "states"}, ...STATES.filter((state) => fleet.agents[state]).map((state) =>
      el("li", {class: `dot ${TONE[state]}`}, `${fleet.agents[state]} ${state}`))),
    scalers(fleet),
    chart(fleet));
}

// Nothing where it is not known what scales the fleet, which is not the same as that nothing does.
function scalers(fleet) {
  if (fleet.scalers === null) return null;
  if (!fleet.scalers.length) return el("p", {class: "scalers"}, "no HPA scales it");
  return el("ul", {class: "scalers"}, ...fleet.scalers.map((scaler) => el("li", {title: MEANING.scaler},
    `HPA ${scaler.name}${scaler.keda ? " (KEDA)" : ""}: ${number(scaler.min_agents)} – ${number(scaler.max_agents)} agents, `
    + `desired ${number(scaler.desired_agents)}`,
    scaler.active && scaler.active.holds === false ? el("span", {class: "inactive"}, ", not active") : null)));
}

function loadBar(fleet) {
  const running = fleet.tasks_active, capacity = fleet.capacity_tasks, queued = fleet.tasks_queued || 0;
  if (running === null) return el("div", {class: "bar unknown", role: "img", "aria-label": "how much runs is not known"});
  const whole = Math.max(capacity, running + queued, 1);
  const part = (kind, value) => {
    const span = el("span", {class: kind});
    span.style.width = `${(100 * value) / whole}%`;
    return span;
  };
  const limit = el("span", {class: "limit", hidden: capacity >= whole || !capacity});
  limit.style.left = `calc(${(100 * capacity) / whole}% - 1px)`;
  const label = `${number(running)} of ${number(capacity)} tasks running, ${number(fleet.tasks_queued)} queued`;
  return el("div", {class: "bar", role: "img", "aria-label": label, title: label}, part("running", running), part("queued", queued), limit);
}

function figures(fleet) {
  const figure = (term, value, rest = "", kind = null) => el("div", {title: MEANING[term]},
    el("dt", {}, term), el("dd", {class: kind}, value, rest ? el("small", {}, ` ${rest}`) : null));
  const forScalers = (term, value, rest) =>
    fleet.trusted ? figure(term, number(value), rest) : figure(term, "withheld", "", "withheld");
  const there = fleet.agents.total - fleet.agents.draining;
  const differs = fleet.hpa_agents !== null && fleet.hpa_agents !== fleet.desired_agents;
  return el("dl", {class: "figures"},
    figure("running", number(fleet.tasks_active), `of ${number(fleet.capacity_tasks)}`),
    figure("free", (fleet.free_slots_certain || !fleet.free_slots ? "" : "≤ ") + number(fleet.free_slots)),
    figure("queued", number(fleet.tasks_queued)),
    figure("held", number(fleet.held_tasks)),
    forScalers("demand", fleet.demand_tasks),
    forScalers("wanted", fleet.desired_agents, `${there} there${differs ? `, an HPA: ${fleet.hpa_agents}` : ""}`));
}

// -- charts -------------------------------------------------------------------------------------------------------------

function chart(fleet) {
  const track = seen.history.get(`${fleet.namespace}/${fleet.fleet}`);
  const figure = el("figure", {class: "chart"});
  const legend = el("figcaption", {class: "legend"});
  const now = seen.time;
  const first = track ? track.time_seconds.findIndex((time) => time >= now - wish.range) : -1;
  if (first < 0 || track.time_seconds.length - first < 2) {
    figure.append(el("p", {class: "faint"}, "The chart begins once there are two points."));
    return figure;
  }
  const times = track.time_seconds.slice(first);
  const from = times[0], range = Math.max(now - from, 1);
  const columns = LINES.map(([kind, name]) => [kind, track[name].slice(first)]);
  const highest = Math.max(1, ...columns.flatMap(([, values]) => values.filter((value) => value !== null)));
  const width = 600, height = 120, foot = 16;
  const x = (time) => (width * (time - from)) / range;
  const y = (value) => 8 + (height - foot - 8) * (1 - value / highest);
  const picture = svg("svg", {viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", role: "img", "aria-label": `tasks over the last ${label(wish.range)}`},
    svg("path", {class: "axis", d: `M0 ${height - foot}H${width}`}));
  for (const [kind, values] of columns) {
    const runs = unbroken(times, values);
    if (kind === "running") {
      picture.append(svg("path", {class: "area", d: runs.map((run) =>
        `${line(run, x, y)}L${x(run[run.length - 1][0])} ${height - foot}L${x(run[0][0])} ${height - foot}Z`).join("")}));
    }
    picture.append(svg("path", {class: kind, d: runs.map((run) => line(run, x, y)).join("")}));
  }
  const cursor = svg("path", {class: "cursor", d: ""});
  picture.append(cursor);
  figure.append(picture, legend);
  const show = (index) => legend.replaceChildren(
    el("span", {}, index === null ? `${clock(from)} – ${clock(now)}, up to ${number(highest)} tasks` : clock(times[index], true)),
    ...columns.map(([kind, values]) => el("span", {class: kind}, el("i"), index === null ? kind : `${kind} ${number(values[index])}`)));
  show(null);
  picture.addEventListener("pointermove", (event) => {
    const box = picture.getBoundingClientRect();
    const wanted = from + (range * (event.clientX - box.left)) / box.width;
    const index = times.reduce((best, time, at) => (Math.abs(time - wanted) < Math.abs(times[best] - wanted) ? at : best), 0);
    cursor.setAttribute("d", `M${x(times[index])} 0V${height - foot}`);
    show(index);
  });
  picture.addEventListener("pointerleave", () => { cursor.setAttribute("d", ""); show(null); });
  return figure;
}

const label = (range) => RANGES.find(([, seconds]) => seconds === range)[0];
const line = (run, x, y) => run.map(([time, value], at) => `${at ? "L" : "M"}${x(time).toFixed(1)} ${y(value).toFixed(1)}`).join("");

// Stretches without a hole: what was not known, or not looked at, is not drawn over.
function unbroken(times, values) {
  const runs = [];
  let run = [], last = null;
  times.forEach((time, at) => {
    if (values[at] === null || (last !== null && time - last > 4 * HISTORY_SECONDS)) {
      if (run.length) runs.push(run);
      run = [];
    }
    if (values[at] !== null) run.push([time, values[at]]);
    last = time;
  });
  if (run.length) runs.push(run);
  return runs;
}

// -- agents -------------------------------------------------------------------------------------------------------------

function agentsTable(agents) {
  if (!agents.length) {
    const nothing = wish.search ? "No agent matches." : wish.all ? "No agent was found." : "No agent needs attention.";
    return el("p", {class: `table empty${wish.search || wish.all ? "" : " good"}`}, nothing);
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

function agentRow(agent) {
  const limit = agent.kubernetes ? agent.kubernetes.memory_limit_bytes : null;
  const memory = percent(agent.memory_working_set_bytes, limit) || percent(agent.heap_used_bytes, agent.heap_limit_bytes);
  const old = agent.fresh ? "" : " faint";
  return el("tr", {},
    el("td", {}, agent.pod, el("div", {class: "faint"}, `${agent.namespace}/${agent.fleet}`)),
    el("td", {class: "state"}, el("span", {class: `dot ${TONE[agent.state] || ""}`}, agent.state)),
    el("td", {class: `number${old}`}, number(agent.tasks_active)),
    el("td", {class: `number spare${old}`}, agent.tasks_queued === null ? "–" : number(agent.tasks_queued)),
    el("td", {class: `number spare${old}`}, memory || "–"),
    el("td", {class: "faint spare"}, agent.version || "–"),
    el("td", {class: "reason"}, agent.reason));
}

function chosenAgents() {
  const words = wish.search.toLowerCase().split(/\s+/).filter(Boolean);
  const text = (agent) => `${agent.namespace}/${agent.fleet} ${agent.pod} ${agent.state} ${agent.reason} ${agent.version || ""}`.toLowerCase();
  return seen.agents
    .filter((agent) => wish.all || agent.needs_attention)
    .filter((agent) => words.every((word) => text(agent).includes(word)))
    .sort((one, other) => Number(other.needs_attention) - Number(one.needs_attention)
      || URGENCY.indexOf(one.state) - URGENCY.indexOf(other.state));
}

// -- drawing ------------------------------------------------------------------------------------------------------------

// Buttons stay what they are from one look to the next, so that the keyboard's focus stays where it is.
function choice(id, options, current, choose) {
  const group = byId(id);
  while (group.children.length < options.length) group.append(el("button", {type: "button"}));
  options.forEach(([text, value], at) => {
    const button = group.children[at];
    if (button.textContent !== text) button.textContent = text;
    button.setAttribute("aria-pressed", String(value === current));
    button.onclick = () => choose(value);
  });
}

// Whoever marks text, to copy a pod's name, keeps it: what is shown waits.
function marking() {
  const selection = document.getSelection();
  return selection !== null && !selection.isCollapsed && document.querySelector("main").contains(selection.anchorNode);
}

function drawFleets() {
  choice("ranges", RANGES, wish.range, (range) => { wish.range = range; drawFleets(); });
  byId("remarks").replaceChildren(...seen.remarks.map((remark) => el("li", {}, remark)));
  byId("fleets").replaceChildren(...(seen.fleets.length ? seen.fleets.map(fleetCard) : [el("p", {class: "table empty"}, "No fleet was found.")]));
}

function drawAgents() {
  const needing = seen.agents.filter((agent) => agent.needs_attention).length;
  choice("shown", [[`Need attention (${needing})`, false], [`All (${seen.agents.length})`, true]], wish.all, (all) => {
    wish.all = all;
    wish.rows = MOST_ROWS;
    drawAgents();
  });
  byId("agents").replaceChildren(agentsTable(chosenAgents()));
  document.title = needing ? `${plural(needing, "agent")} in trouble · Matillion fleets` : "Matillion fleets";
}

function drawState() {
  const banner = byId("banner");
  const old = seen.time === null ? "" : ` What is shown is from ${clock(seen.time, true)}.`;
  const text = seen.trouble ? `No answer from the exporter: ${seen.trouble}.${old}` : seen.notReady ? `Not ready yet: ${seen.notReady}` : "";
  if (banner.textContent !== text) banner.textContent = text;
  banner.hidden = !text;
  document.body.classList.toggle("stale", Boolean(seen.trouble) && seen.time !== null);
  byId("clock").textContent = seen.time === null ? "" : `as of ${clock(seen.time, true)}`;
}

// -- asking -------------------------------------------------------------------------------------------------------------

async function ask(path, accepted = [200]) {
  const answer = await fetch(path, {cache: "no-store", signal: AbortSignal.timeout(TIMEOUT_SECONDS * 1000)});
  if (!accepted.includes(answer.status)) throw new Error(`HTTP ${answer.status}`);
  return answer;
}

async function look() {
  try {
    const [fleets, agents, ready] = await Promise.all([
      ask("api/v1/fleets").then((answer) => answer.json()),
      ask("api/v1/agents").then((answer) => answer.json()),
      ask("readyz", [200, 503]).then(async (answer) => (answer.status === 200 ? null : (await answer.text()).trim())),
    ]);
    await remember(agents.time_seconds);
    Object.assign(seen, {fleets: fleets.fleets, remarks: fleets.remarks, agents: agents.agents, time: agents.time_seconds, notReady: ready, trouble: null});
    if (!marking()) {
      drawFleets();
      drawAgents();
    }
  } catch (error) {
    seen.trouble = error.name === "TimeoutError" ? `nothing came for ${TIMEOUT_SECONDS} s` : error.message;
  }
  drawState();
  if (document.hidden) await new Promise((shown) => document.addEventListener("visibilitychange", shown, {once: true}));
  else await new Promise((over) => setTimeout(over, REFRESH_SECONDS * 1000));
  look();
}

// Asks for the points since the last ones only, and forgets what no chart reaches back to.
async function remember(now) {
  const since = seen.historyAt ? `?since=${seen.historyAt}` : "";
  const {history} = await (await ask(`api/v1/history${since}`)).json();
  const oldest = now - RANGES[RANGES.length - 1][1];
  const grown = new Map();
  for (const track of history) {
    const key = `${track.namespace}/${track.fleet}`;
    const before = seen.history.get(key);
    const times = [...(before ? before.time_seconds : []), ...track.time_seconds];
    const keep = times.findIndex((time) => time >= oldest);
    const joined = {time_seconds: times.slice(Math.max(keep, 0))};
    for (const [, name] of LINES) joined[name] = [...(before ? before[name] : []), ...track[name]].slice(Math.max(keep, 0));
    grown.set(key, joined);
    seen.historyAt = Math.max(seen.historyAt, ...track.time_seconds);
  }
  seen.history = grown;
}

byId("search").addEventListener("input", (event) => {
  wish.search = event.target.value;
  wish.rows = MOST_ROWS;
  drawAgents();
});
look();
