// Draws the tables of agents and departures, of what agents.js makes of the documents.
import {COLUMNS, age, agentTone, chosen, clicked, departure, memory, noAgents, noDepartures, ofFleet, rows, slotsOf, sorted, stateWord} from "./agents.js";
import {runbookOf} from "./address.js";
import {el} from "./patch.js";
import {MOST_ROWS, choice, choose, opened, seen} from "./state.js";
import {fleetName, number} from "./view.js";

/** @typedef {import("./view.js").Agent} Agent */
/** @typedef {import("./patch.js").Made} Made */

/** @type {Record<string, string>} of the columns; those that are spare need a wide window, or a card of their own in a narrow one */
const CLASSES = {tasks: "tasks", queued: "number spare", memory: "number spare", restarts: "number spare", age: "number spare",
  node: "spare", version: "spare", why: "reason"};

/** @param {string[]} classes @param {(Made | string)[]} heads */
const head = (classes, heads) => el("thead", {role: "rowgroup"}, el("tr", {role: "row"},
  heads.map((one, at) => (typeof one === "string" ? el("th", {scope: "col", role: "columnheader", class: classes[at] || null}, one) : one))));

/** @param {number} slots of an agent @returns {Made[]} */
export function agentsTable(slots) {
  const known = ofFleet(seen.agents, choice.fleet), now = seen.time ?? 0;
  const found = chosen(known, choice, now);
  if (!found.length) {
    const {text, good} = noAgents(known, choice);
    return [el("p", {key: "none", class: good ? "table empty good" : "table empty"}, text)];
  }
  const all = rows(found, choice.sort === "", opened.groups), shown = all.slice(0, opened.rows);
  const heads = COLUMNS.map(({id, head: text}) => el("th", {scope: "col", role: "columnheader", class: CLASSES[id] ?? null, "aria-sort": sorted(choice.sort, id)},
    el("button", {type: "button", onclick: () => choose({sort: clicked(choice.sort, id)})}, text)));
  const table = el("table", {role: "table", class: "sorted", "aria-labelledby": "agents-title"}, head([], heads),
    el("tbody", {role: "rowgroup"}, shown.map((row) => (row.kind === "group" ? groupRow(row) : agentRow(row.agent, row.inside, slots, now)))));
  const more = all.length - opened.rows;
  return [el("div", {key: "table", class: "table"}, table), ...(more > 0 ? [el("p", {key: "more", class: "more"},
    el("button", {type: "button", onclick: () => { opened.rows += MOST_ROWS; choose({}); }}, `Show ${Math.min(MOST_ROWS, more)} more of ${number(all.length)}`))] : [])];
}

/** @param {import("./agents.js").GroupRow} group */
function groupRow({key, agents, reason, open}) {
  const [first] = agents;
  const toggle = () => {
    if (!opened.groups.delete(key)) opened.groups.add(key);
    choose({});
  };
  return el("tr", {key, role: "row", class: "group"},
    el("td", {role: "cell"}, el("button", {type: "button", "aria-expanded": String(open), onclick: toggle}, `${number(agents.length)} agents`),
      el("div", {class: "faint"}, fleetName(first))),
    el("td", {role: "cell", class: "state"}, el("i", {class: `dot ${first.state}`}), stateWord(first)),
    el("td", {role: "cell", class: "reason", colspan: "8"}, reason, runbook(first)));
}

/** @param {Agent} agent @param {Record<string, string>} [pod] none for a group of them */
const runbook = ({runbook: alert, namespace, fleet}, pod) =>
  (alert ? el("a", {class: "runbook", href: runbookOf(alert, {namespace, fleet, ...pod})}, "runbook") : null);

/** @param {Agent} agent @param {boolean} inside a group that tells the reason @param {number} slots @param {number} now */
function agentRow(agent, inside, slots, now) {
  const pod = agent.kubernetes, old = agent.fresh ? "" : " faint";
  /** @param {string} label @param {string} kind @param {string | null} text */
  const cell = (label, kind, text) => el("td", {role: "cell", class: text === null ? `${kind} nothing` : kind, "data-label": label}, text ?? "–");
  return el("tr", {key: agent.uid, role: "row", class: inside ? "inside" : null},
    el("td", {role: "cell", class: "pod"}, agent.pod, el("div", {class: "faint"}, fleetName(agent), pod?.protected ? " · protected" : "")),
    el("td", {role: "cell", class: `state ${agentTone(agent)}`}, el("i", {class: `dot ${stateWord(agent) === agent.state ? agent.state : "unknown"}`}), stateWord(agent)),
    slotsCell(agent, slots),
    cell("queued", `number spare${old}`, agent.tasks_queued === null ? null : number(agent.tasks_queued)),
    cell("memory", `number spare${old}`, memory(agent)),
    cell("restarts", "number spare", pod?.restarts ? number(pod.restarts) : null),
    cell("age", "number spare", pod?.created_time_seconds ? age(now - pod.created_time_seconds) : null),
    // What follows the first dot is the same for all nodes of a cluster.
    el("td", {role: "cell", class: pod?.node ? "spare node" : "spare node nothing", "data-label": "node", title: pod?.node ?? null}, pod?.node?.split(".")[0] ?? "–"),
    cell("version", "spare", agent.version || null),
    el("td", {role: "cell", class: "reason"}, agent.reason, runbook(agent, {pod: agent.pod})));
}

/** @param {Agent} agent @param {number} slots */
function slotsCell(agent, slots) {
  const bar = slotsOf(agent, slots);
  if (bar === null) return el("td", {role: "cell", class: "tasks nothing"}, "–");
  return el("td", {role: "cell", class: "tasks"},
    el("span", {class: bar.old ? "slots old" : "slots", style: {"--slots": String(bar.slots), "--used": String(bar.used), "--over": String(bar.over)}}),
    el("span", {class: bar.old ? "faint" : null}, ` ${bar.text}`));
}

/** @returns {Made} */
export function departuresTable() {
  const shown = ofFleet(seen.departures, choice.fleet);
  if (!shown.length) return el("p", {class: "table empty"}, noDepartures(seen.departuresSince));
  const classes = ["", "", "number", "number spare", "spare", "spare"];
  const body = shown.toReversed().map((one) => {
    const {when, cause, tasks, lost, end, tone} = departure(one);
    /** @param {string} label @param {string} kind @param {string} text */
    const cell = (label, kind, text) => el("td", {role: "cell", class: kind, "data-label": label}, text);
    return el("tr", {key: `${one.uid} ${one.requested_time_seconds ?? one.ended_time_seconds}`, role: "row"},
      el("td", {role: "cell", class: "pod"}, one.pod, el("div", {class: "faint"}, fleetName(one))),
      el("td", {role: "cell", class: `state ${tone}`}, el("i", {class: `dot ${tone}`}), end),
      cell("lost", "number", lost), cell("of", "number spare", tasks), cell("cause", "spare", cause), cell("left", "spare", when));
  });
  return el("div", {class: "table"}, el("table", {role: "table", "aria-labelledby": "departures-title"},
    head(classes, ["Agent", "End", "Lost", "Of", "Cause", "Left"]), el("tbody", {role: "rowgroup"}, body)));
}
