// What the status page shows, decided from the exporter's documents. Pure: no DOM, no network, no clock; page.js draws it.
// Nothing is classified here: which agents need attention, why, and what is withheld comes from the exporter.

/**
 * The documents, as far as the page reads them (docs/http.md has every field). null = not known, or withheld.
 *
 * @typedef {"serving" | "unreachable" | "disconnected" | "stopped" | "starting" | "draining"} State
 * @typedef {{name: string, keda: boolean, min_agents: number | null, max_agents: number | null, desired_agents: number | null,
 *   active: {holds: boolean | null} | null}} Scaler
 * @typedef {Record<State | "total", number>} Counts
 * @typedef {{tasks: number | null, skill: number | null, lead_time_seconds: number, past_read_time_seconds: number | null,
 *   withheld_reason: string | null, like_days: string | null}} Forecast of a fleet; there is none without the setting
 * @typedef {{namespace: string, fleet: string, trusted: boolean, untrusted_reason: string | null, health: "ok" | "degraded" | "down" | "data incomplete",
 *   attention: number, problems: string[], remarks: string[],
 *   agents: Counts, desired_agents: number | null, hpa_agents: number | null, capacity_tasks: number, tasks_active: number | null,
 *   tasks_serving: number | null, tasks_queued: number | null, held_tasks: number | null, demand_tasks: number | null,
 *   free_slots: number | null, free_slots_certain: boolean, scalers: Scaler[] | null, demand_ahead_tasks: number | null,
 *   forecast: Forecast | null}} Fleet
 * @typedef {{namespace: string, fleet: string, pod: string, state: State, reason: string, needs_attention: boolean,
 *   drain_cut_short: boolean, fresh: boolean, version: string | null, tasks_active: number | null, tasks_queued: number | null,
 *   heap_used_bytes: number | null, heap_limit_bytes: number | null, memory_working_set_bytes: number | null,
 *   kubernetes: {memory_limit_bytes: number | null} | null}} Agent
 * @typedef {{namespace: string, fleet: string, pod: string, cause: string, requested_time_seconds: number | null,
 *   tasks_at_request: number | null, ended_time_seconds: number | null, tasks_lost: number | null, reason: string | null}} Departure
 * @typedef {"capacity_tasks" | "tasks_active" | "tasks_queued" | "demand_tasks" | "forecast_tasks" | "tasks_lost"} Charted
 * @typedef {{interval_seconds: number, start_time_seconds: number, demand_tasks: (number | null)[]}} Ahead the demand that is expected
 * @typedef {{time_seconds: number[], ahead: Ahead | null} & Record<Charted, (number | null)[]>} Points
 * @typedef {{namespace: string, fleet: string} & Points} Track
 *
 * @typedef {{fleets: Fleet[], remarks: string[]}} FleetsDocument
 * @typedef {{agents: Agent[], time_seconds: number}} AgentsDocument
 * @typedef {{departures: Departure[], since_time_seconds: number}} DeparturesDocument
 * @typedef {{history: Track[]}} HistoryDocument
 */

/** @type {State[]} */
const STATES = ["serving", "unreachable", "disconnected", "stopped", "starting", "draining"];
/** @type {State[]} */
const URGENCY = ["unreachable", "disconnected", "stopped", "starting", "serving", "draining"];
/** @type {Record<State, string>} */
export const TONE = {serving: "good", starting: "doubtful", draining: "faint", unreachable: "bad", disconnected: "bad", stopped: "bad"};

const OLD_PAST_SECONDS = 3600; // sources are read at least every 15 min

export const MEANING = {
  running: "tasks running, of what the serving agents can run at once; in brackets those on serving agents, where others run too",
  free: "slots of serving agents that no task has; ≤ where neither CPU nor memory is known, which may keep them from being used",
  queued: "tasks that wait for a slot; ? where no agent reports a queue",
  held: "tasks assumed on unreachable agents, so that the fleet is not scaled in",
  demand: "tasks the fleet should have capacity for: what the autoscaler receives",
  desired: "agents needed for the demand at the target load; an HPA tolerates 10 % around it, and keeps to its minimum and maximum",
  outlook: "demand ahead: the greater of demand and forecast, what an autoscaler receives that scales ahead of the work; skill: how much "
    + "the forecast would have helped lately, 1 at best: the share of waiting avoided less twice the share of agent-hours added",
  forecast: "what had been forecast for the time until then, early enough for agents to start: at or above the demand, they were ready when it came",
  expected: "the demand expected from the fleet's own past; an autoscaler receives it only as part of ahead",
  scaler: "the autoscaler: its minimum, maximum and last desired number of agents",
};

// -- words --------------------------------------------------------------------------------------------------------------

/** @param {number | null | undefined} value undefined where a page that was opened before an upgrade asks what is gone since */
export const number = (value) => (value === null || value === undefined ? "?" : String(Math.round(value * 10) / 10));
/** @param {number | null} part @param {number | null} whole */
export const percent = (part, whole) => (part === null || !whole ? null : `${Math.round((100 * part) / whole)} %`);
/** @param {number} seconds Unix time */
export const clock = (seconds, withSeconds = false) =>
  new Date(seconds * 1000).toLocaleTimeString([], {hour: "2-digit", minute: "2-digit", second: withSeconds ? "2-digit" : undefined});
/** @param {number} seconds a stretch of time, in the unit that suits it */
export function lasting(seconds) {
  if (seconds < 120) return `${Math.round(seconds)} s`;
  return seconds < 7200 ? `${number(seconds / 60)} min` : `${number(seconds / 3600)} h`;
}
/** @param {{namespace: string, fleet: string}} one */
export const fleetName = (one) => `${one.namespace}/${one.fleet}`;

/** @param {number} needing agents that need attention */
export const title = (needing) =>
  needing ? `${needing} agent${needing === 1 ? "" : "s"} in trouble · Matillion fleets` : "Matillion fleets";

/**
 * What stands above everything, "" if nothing does.
 *
 * @param {string | null} trouble why the exporter gave no answer
 * @param {string | null} notReady the exporter's own reason
 * @param {number | null} time Unix time of what is shown
 */
export function banner(trouble, notReady, time) {
  if (trouble === null) return notReady === null ? "" : `Not ready yet: ${notReady}`;
  return `No answer from the exporter: ${trouble}.${time === null ? "" : ` What is shown is from ${clock(time, true)}.`}`;
}

// -- fleets -------------------------------------------------------------------------------------------------------------

/** @param {Fleet} fleet @returns {[State, number][]} the states its agents are in, and how many are in each */
export const states = (fleet) =>
  STATES.filter((state) => fleet.agents[state]).map((state) => [state, fleet.agents[state]]);

/** @param {Scaler} scaler */
export const scalerLine = (scaler) =>
  `HPA ${scaler.name}${scaler.keda ? " (KEDA)" : ""}: ${number(scaler.min_agents)} – ${number(scaler.max_agents)} agents, `
  + `desired ${number(scaler.desired_agents)}`;

/**
 * The bar: how far tasks fill the slots of the serving agents, and the queue behind them, as widths in percent; where the
 * slots end if the work goes beyond them; null where it is not known what runs.
 *
 * @param {Fleet} fleet
 */
export function load(fleet) {
  const running = fleet.tasks_serving, capacity = fleet.capacity_tasks, queued = fleet.tasks_queued ?? 0;
  if (running === null) return null;
  const whole = Math.max(capacity, running + queued, 1);
  const share = (/** @type {number} */ value) => (100 * value) / whole;
  return {
    running: share(running),
    queued: share(queued),
    limit: capacity && capacity < whole ? share(capacity) : null,
    label: `${number(running)} of ${number(capacity)} slots in use, ${number(fleet.tasks_queued)} queued`,
  };
}

/**
 * A fleet's figures in the order they are shown; those for scalers are withheld while it cannot be trusted.
 *
 * @param {Fleet} fleet
 */
export function figures(fleet) {
  /** @param {keyof typeof MEANING} term @param {string} value */
  const figure = (term, value, rest = "", withheld = false) => ({term, meaning: MEANING[term], value, rest, withheld});
  /** @param {keyof typeof MEANING} term @param {number | null} value */
  const forScalers = (term, value, rest = "") =>
    fleet.trusted ? figure(term, number(value), rest) : figure(term, "withheld", "", true);
  const there = fleet.agents.total - fleet.agents.draining;
  const differs = fleet.hpa_agents !== null && fleet.hpa_agents !== fleet.desired_agents;
  // Tasks on agents that are not serving run on, and fill none of the slots.
  const slots = number(fleet.capacity_tasks);
  const filled = fleet.tasks_serving === fleet.tasks_active ? `of ${slots}` : `(${number(fleet.tasks_serving)} of ${slots})`;
  return [
    figure("running", number(fleet.tasks_active), filled),
    figure("free", (fleet.free_slots_certain || !fleet.free_slots ? "" : "≤ ") + number(fleet.free_slots)),
    figure("queued", number(fleet.tasks_queued)),
    figure("held", number(fleet.held_tasks)),
    forScalers("demand", fleet.demand_tasks),
    forScalers("desired", fleet.desired_agents, `(${there} there${differs ? `, an HPA: ${fleet.hpa_agents}` : ""})`),
  ];
}

/**
 * What is forecast of a fleet, or why nothing is; null where no forecast is configured.
 *
 * @param {Fleet} fleet
 * @param {number | null} time Unix time
 */
export function forecastLine({forecast, demand_ahead_tasks: ahead}, time) {
  if (!forecast) return null;
  const {tasks, skill, lead_time_seconds: lead, past_read_time_seconds: read, like_days: like, withheld_reason: reason} = forecast;
  if (tasks === null) return {text: `no forecast: ${reason ?? "?"}`, doubtful: true};
  const within = `forecast ${number(tasks)} task${tasks === 1 ? "" : "s"} within ${lasting(lead)}${like ? ` (as on ${like})` : ""}`;
  const age = time === null || read === null ? 0 : time - read;
  const old = age > OLD_PAST_SECONDS ? `; its past was last read ${lasting(age)} ago` : "";
  return {text: `${within}, skill ${number(skill)}; demand ahead ${ahead === null ? "withheld" : number(ahead)}${old}`, doubtful: old !== ""};
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

// -- agents -------------------------------------------------------------------------------------------------------------

/**
 * The agents to show, those that need attention first.
 *
 * @param {Agent[]} agents
 * @param {boolean} all or only those that need attention
 * @param {string} search words that are all to be found in what is said of an agent
 */
export function chosen(agents, all, search) {
  const words = search.toLowerCase().split(/\s+/).filter(Boolean);
  /** @param {Agent} agent */
  const text = (agent) => `${fleetName(agent)} ${agent.pod} ${agent.state} ${agent.reason} ${agent.version ?? ""}`.toLowerCase();
  return agents
    .filter((agent) => all || agent.needs_attention)
    .filter((agent) => words.every((word) => text(agent).includes(word)))
    .sort((one, other) => Number(other.needs_attention) - Number(one.needs_attention)
      || urgency(one) - urgency(other));
}

/** @param {Agent} agent where a drain that was cut short stands: before all others, for only its minutes count */
const urgency = (agent) => (agent.drain_cut_short ? -1 : URGENCY.indexOf(agent.state));

/** @param {Agent} agent */
export const agentTone = (agent) => (agent.drain_cut_short ? "bad" : TONE[agent.state]);

/**
 * What stands in place of agents where there are none to show. Only where there are some is it good that none needs attention.
 *
 * @param {number} known agents
 * @param {string} search
 * @returns {{text: string, good: boolean}}
 */
export function noAgents(known, search) {
  if (!known) return {text: "No agent was found.", good: false};
  return search ? {text: "No agent matches.", good: false} : {text: "No agent needs attention.", good: true};
}

/** @param {Agent} agent @returns its container's memory, else its heap, of the limit; null where neither is known */
export const memory = (agent) =>
  percent(agent.memory_working_set_bytes, agent.kubernetes?.memory_limit_bytes ?? null)
  ?? percent(agent.heap_used_bytes, agent.heap_limit_bytes);
