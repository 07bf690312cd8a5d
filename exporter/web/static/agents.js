// The tables of agents and departures: which rows, in which order, what is in a cell. Pure: no DOM, no network, no clock.
import {STATES} from "./fleets.js";
import {clock, fleetName, lasting, number, percent} from "./view.js";

/** @typedef {import("./view.js").Agent} Agent */
/** @typedef {import("./view.js").Departure} Departure */
/** @typedef {import("./view.js").State} State */
/** @typedef {{kind: "agent", agent: Agent, inside: boolean}} AgentRow */
/** @typedef {{kind: "group", key: string, agents: Agent[], reason: string, open: boolean}} GroupRow */

/** @type {State[]} */
const URGENCY = ["unreachable", "disconnected", "stopped", "starting", "serving", "draining"];
/** @type {Record<State, string>} */
export const TONE = {serving: "good", starting: "doubtful", draining: "faint", unreachable: "bad", disconnected: "bad", stopped: "bad"};
const LEAST_GROUPED = 3; // of equal reasons; less are as easily read one by one
/** @type {Record<string, number>} seconds of what the exporter writes after a duration */
const UNITS = {s: 1, min: 60, h: 3600, days: 86_400};

/** @param {Agent} agent where a drain that was cut short stands: before all others, for only its minutes count */
const urgency = (agent) => (agent.drain_cut_short ? -1 : URGENCY.indexOf(agent.state));
/** @param {Agent} agent */
export const agentTone = (agent) => (!agent.looked_at && !agent.needs_attention ? "faint" : agent.drain_cut_short ? "bad" : TONE[agent.state]);
/** @param {Agent} agent */
export const stateWord = (agent) => (agent.looked_at || agent.state !== "unreachable" ? agent.state : "not looked at yet");

// -- cells --------------------------------------------------------------------------------------------------------------

/** @param {Agent} agent @returns whether nothing can run on it: its container does not run, and so an old reading says nothing */
const dead = ({fresh, kubernetes}) => !fresh && kubernetes !== null && kubernetes.started_time_seconds === null;
/** @param {Agent} agent */
const tasks = (agent) => (dead(agent) ? null : agent.tasks_active);
/** @param {Agent} agent @returns its container's memory, else its heap, as a share of the limit; null where neither is known */
const memoryShare = (agent) => share(agent.memory_working_set_bytes, agent.kubernetes?.memory_limit_bytes ?? null)
  ?? share(agent.heap_used_bytes, agent.heap_limit_bytes);
/** @param {number | null} part @param {number | null} whole */
const share = (part, whole) => (part === null || !whole ? null : part / whole);
/** @param {Agent} agent */
export const memory = (agent) => percent(memoryShare(agent), 1);

const MOST_OVER = 0.5; // of the slots that are drawn beyond the last

/**
 * An agent's tasks as its slots: how many are used, and how many tasks go beyond them; null where no task is known.
 *
 * @param {Agent} agent
 * @param {number} slots
 */
export function slotsOf(agent, slots) {
  const active = tasks(agent);
  if (active === null) return null;
  return {
    used: Math.min(active, slots),
    over: Math.min(Math.max(0, active - slots), Math.ceil(slots * MOST_OVER)),
    slots,
    text: `${number(active)}/${slots}`,
    old: !agent.fresh,
  };
}

/**
 * The columns, and what each is sorted by; `first` is the direction of the first click, "-" from the greatest value.
 *
 * @type {{id: string, head: string, first: "" | "-", value: (agent: Agent, now: number) => string | number | null}[]}
 */
export const COLUMNS = [
  {id: "pod", head: "Agent", first: "", value: (agent) => agent.pod},
  {id: "state", head: "State", first: "", value: urgency},
  {id: "tasks", head: "Tasks", first: "-", value: tasks},
  {id: "queued", head: "Queued", first: "-", value: (agent) => agent.tasks_queued},
  {id: "memory", head: "Memory", first: "-", value: memoryShare},
  {id: "restarts", head: "Restarts", first: "-", value: (agent) => agent.kubernetes?.restarts ?? null},
  {id: "age", head: "Age", first: "", value: (agent, now) => (agent.kubernetes?.created_time_seconds ? now - agent.kubernetes.created_time_seconds : null)},
  {id: "node", head: "Node", first: "", value: (agent) => agent.kubernetes?.node ?? null},
  {id: "version", head: "Version", first: "", value: (agent) => agent.version},
  {id: "why", head: "Why", first: "", value: (agent) => agent.reason},
];

/** @param {string} sort @param {string} id @returns {string} the sort after a click on a column: there, back, then none */
export function clicked(sort, id) {
  const first = COLUMNS.find((column) => column.id === id)?.first ?? "";
  if (sort.replace(/^-/, "") !== id) return first + id;
  return sort === first + id ? (first ? "" : "-") + id : "";
}

/** @param {string} sort @param {string} id @returns {"ascending" | "descending" | "none"} */
export const sorted = (sort, id) => (sort === id ? "ascending" : sort === `-${id}` ? "descending" : "none");

/** @param {number} seconds */
export const age = (seconds) => lasting(Math.max(0, seconds));

// -- rows ---------------------------------------------------------------------------------------------------------------

/** @type {Record<string, (agent: Agent) => boolean>} what can be shown, in the order of the choices */
const SHOWN = {
  attention: (agent) => agent.needs_attention,
  all: () => true,
  ...Object.fromEntries([...STATES, "not looked at yet"].map((state) => [state, (/** @type {Agent} */ agent) => stateWord(agent) === state])),
  refusing: (agent) => agent.refusing !== null,
  protected: (agent) => Boolean(agent.kubernetes?.protected),
};

/**
 * The choices of agents and how many there are of each; beside the first two only those that there are, and the current one.
 *
 * @param {Agent[]} agents
 * @param {string} show
 * @returns {[string, string][]} text and choice
 */
export const choices = (agents, show) => Object.entries(SHOWN)
  .map(([id, holds]) => ({id, count: agents.filter(holds).length}))
  .filter(({id, count}) => count || id === "attention" || id === "all" || id === show)
  .map(({id, count}) => [`${id === "attention" ? "need attention" : id} ${number(count)}`, id]);

/**
 * @template {{namespace: string, fleet: string}} T
 * @param {T[]} ones
 * @param {string} fleet `namespace/name`, or "" for all
 */
export const ofFleet = (ones, fleet) => (fleet ? ones.filter((one) => fleetName(one) === fleet) : ones);

/**
 * The agents to show: in the order that was asked for, else those that need attention first, by how urgent their state is.
 *
 * @param {Agent[]} agents
 * @param {{show: string, search: string, sort: string}} choice `search`: words that are all to be found in what is said of one
 * @param {number} now Unix time
 */
export function chosen(agents, {show, search, sort}, now) {
  const words = search.toLowerCase().split(/\s+/).filter(Boolean);
  /** @param {Agent} agent */
  const text = (agent) =>
    `${fleetName(agent)} ${agent.pod} ${stateWord(agent)} ${agent.reason} ${agent.version ?? ""} ${agent.kubernetes?.node ?? ""}`.toLowerCase();
  const found = agents.filter(SHOWN[show] ?? SHOWN.attention).filter((agent) => words.every((word) => text(agent).includes(word)));
  const column = COLUMNS.find(({id}) => id === sort.replace(/^-/, ""));
  if (!column) {
    return found.sort((one, other) => Number(other.needs_attention) - Number(one.needs_attention) || urgency(one) - urgency(other));
  }
  const sign = sort.startsWith("-") ? -1 : 1;
  return found.map((agent) => ({agent, value: column.value(agent, now)})).sort((one, other) => compared(one.value, other.value, sign))
    .map(({agent}) => agent);
}

/** @param {string | number | null} one @param {string | number | null} other @param {number} sign @returns {number} what is not known is last */
function compared(one, other, sign) {
  if (one === null || other === null) return Number(one === null) - Number(other === null);
  return one === other ? 0 : sign * (one < other ? -1 : 1);
}

/**
 * The agents as rows: those in trouble for equal reasons behind one that tells it once. Not where a reader sorted them.
 *
 * @param {Agent[]} agents
 * @param {boolean} grouped
 * @param {ReadonlySet<string>} open keys of groups whose agents are shown
 * @returns {(AgentRow | GroupRow)[]}
 */
export function rows(agents, grouped, open) {
  /** @param {Agent} agent @returns {AgentRow} */
  const row = (agent) => ({kind: "agent", agent, inside: false});
  if (!grouped) return agents.map(row);
  const groups = Map.groupBy(agents, (agent) => (agent.needs_attention ? groupKey(agent) : agent.uid));
  return [...groups].flatMap(([key, members]) => {
    if (members.length < LEAST_GROUPED) return members.map(row);
    /** @type {GroupRow} */
    const group = {kind: "group", key, agents: members, reason: common(members.map(({reason}) => reason)), open: open.has(key)};
    return [group, ...(group.open ? members.map((agent) => ({...row(agent), inside: true})) : [])];
  });
}

const QUANTITY = /(\d+(?:\.\d+)*)(?: (s|min|h|days|tasks?)\b)?/g;

/** @param {Agent} agent @returns {string} the same for agents whose reasons differ in figures only */
const groupKey = (agent) => `${fleetName(agent)} ${agent.state} ${agent.reason.replace(QUANTITY, (_all, _value, unit) => (unit ? `# ${kind(unit)}` : "#"))}`;
/** @param {string} unit */
const kind = (unit) => (unit in UNITS ? "time" : "tasks");

/**
 * One sentence for reasons that differ in figures only: "not scraped for 42 s – 3 min".
 *
 * @param {string[]} reasons
 */
export function common(reasons) {
  const all = reasons.map((reason) => [...reason.matchAll(QUANTITY)]);
  let at = 0;
  return reasons[0].replace(QUANTITY, () => {
    const found = all.map((figures) => figures[at]);
    at++;
    const sizes = found.map(([, value, unit]) => Number(value) * (UNITS[unit] ?? 1));
    if (new Set(found.map(([text]) => text)).size === 1) return found[0][0];
    if (sizes.some(Number.isNaN)) return "…"; // an address
    const least = found[sizes.indexOf(Math.min(...sizes))], most = found[sizes.indexOf(Math.max(...sizes))];
    return kind(least[2]) === kind(most[2]) && least[2]?.[0] === most[2]?.[0] ? `${least[1]} – ${most[0]}` : `${least[0]} – ${most[0]}`;
  });
}

/**
 * What stands in place of agents where there are none to show. Only where there are some is it good that none needs attention.
 *
 * @param {Agent[]} known
 * @param {{show: string, search: string}} choice
 * @returns {{text: string, good: boolean}}
 */
export function noAgents(known, {show, search}) {
  if (!known.length) return {text: "No agent was found.", good: false};
  if (!known.some((agent) => agent.looked_at)) return {text: "No agent was looked at yet.", good: false};
  return search || show !== "attention" ? {text: "No agent matches.", good: false} : {text: "No agent needs attention.", good: true};
}

// -- departures ---------------------------------------------------------------------------------------------------------

/**
 * How an agent left, in the words of `fleet-exporter ledger`.
 *
 * @param {Departure} one
 */
export function departure(one) {
  const requested = one.requested_time_seconds !== null;
  const when = one.requested_time_seconds ?? one.ended_time_seconds;
  const drains = one.ended_time_seconds === null, clean = one.tasks_lost === 0;
  return {
    when: when === null ? "?" : clock(when, true),
    cause: one.cause,
    tasks: requested ? number(one.tasks_at_request) : "–",
    lost: drains ? "–" : number(one.tasks_lost),
    end: drains ? "draining" : clean ? "finished" : one.reason ?? "?",
    tone: drains ? "faint" : clean ? "good" : "bad",
  };
}

/** @param {number | null} since Unix time from which on departures are known */
export const noDepartures = (since) => (since === null ? "" : `No agent has left since ${clock(since)}.`);
