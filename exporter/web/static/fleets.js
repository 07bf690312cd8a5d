// What a fleet's card shows, decided from the exporter's documents. Pure: no DOM, no network, no clock.
import {counted, lasting, number} from "./view.js";

/** @typedef {import("./view.js").Agent} Agent */
/** @typedef {import("./view.js").Fleet} Fleet */
/** @typedef {import("./view.js").Scaler} Scaler */
/** @typedef {import("./view.js").State} State */
/** @typedef {{op: string, term: Term, value: string, tone: string}} Part of the sum */

/** @type {State[]} */
export const STATES = ["serving", "unreachable", "disconnected", "stopped", "starting", "draining"];

const OLD_PAST_SECONDS = 3600; // sources are read at least every 15 min
const OLD_READING_SECONDS = 30; // an agent is unreachable from then on, as a rule

/** @typedef {keyof typeof MEANING} Term */
export const MEANING = {
  running: "tasks on agents that are not draining",
  queued: "tasks that wait for a slot; ? where no agent reports a queue",
  assumed: "tasks assumed on agents that cannot be read or were just replaced, so that missing data does not shrink the fleet",
  replaced: "added for agents that fill a replica and give no slot (stopped, disconnected, crash looping), within limits",
  unseen: "added because work must wait where it cannot be seen: every serving agent is full, and none reports a queue",
  kept: "added so that a scale-in removes only agents with little work",
  demand: "tasks the fleet should have capacity for: what the autoscaler receives",
  ahead: "the greater of demand and forecast: what an autoscaler receives that scales ahead of the work",
  desired: "agents needed for the demand at the target load",
  "an HPA": "where an HPA settles: it tolerates 10 % around its target, and keeps to its minimum and maximum",
  free: "slots of serving agents that no task has; ≤ where neither CPU nor memory is known, which may keep them from being used",
  there: "agents that are not draining, as a Deployment counts its replicas",
  "oldest reading": "age of the oldest reading that counts",
  restarts: "restarts of agents' containers since the exporter started",
  "usual start": "nine of ten agents were ready within this time of the creation of their pod",
  "lost in 24 h": "running tasks that ended with their agent, an estimate; fleet-exporter ledger lists them",
  draining: "tasks that still run on agents that are draining; they are not part of the demand",
  protected: "agents that are annotated so that node autoscalers leave them alone",
  outlook: "demand ahead: the greater of demand and forecast, what an autoscaler receives that scales ahead of the work; skill: how much "
    + "the forecast would have helped lately, 1 at best: the share of waiting avoided less twice the share of agent-hours added",
  forecast: "what had been forecast for the time until then, early enough for agents to start: at or above the demand, they were ready when it came",
  expected: "the demand expected from the fleet's own past; an autoscaler receives it only as part of ahead",
  stored: "the demand of the hours before the exporter started, from the past that its forecast is made from",
};

/**
 * The states a fleet's agents are in, and how many are in each.
 *
 * @param {Fleet} fleet
 * @param {Agent[]} agents its own
 * @returns {[State | "not looked at yet", number][]}
 */
export function states(fleet, agents) {
  const unknown = agents.filter((agent) => agent.state === "unreachable" && !agent.looked_at).length;
  /** @type {[State | "not looked at yet", number][]} */
  const counts = STATES.map((state) => [state, fleet.agents[state] - (state === "unreachable" ? unknown : 0)]);
  return [...counts, /** @type {["not looked at yet", number]} */ (["not looked at yet", unknown])].filter(([, count]) => count > 0);
}

/** @param {Fleet} fleet @returns {number} its replicas, as a Deployment counts them */
const there = (fleet) => fleet.agents.total - fleet.agents.draining;

// -- the sum ------------------------------------------------------------------------------------------------------------

/**
 * How the demand comes about, and what an autoscaler makes of it; what is for scalers is withheld from a fleet that is not
 * trusted.
 *
 * @param {Fleet} fleet
 * @returns {Part[]}
 */
export function sum(fleet) {
  /** @param {string} op @param {Term} term @param {number | null} value @returns {Part} */
  const part = (op, term, value) => ({op, term, value: number(value), tone: value === 0 && op === "+" ? "faint" : ""});
  /** @param {string} op @param {Term} term @param {number | null} value @returns {Part} */
  const forScalers = (op, term, value) => (fleet.trusted ? {...part(op, term, value), tone: "result"} : {op, term, value: "withheld", tone: "withheld"});
  const parts = [
    part("", "running", fleet.tasks_active), part("+", "queued", fleet.tasks_queued), part("+", "assumed", fleet.held_tasks),
    part("+", "replaced", fleet.replacement_tasks), part("+", "unseen", fleet.unseen_queue_tasks),
  ];
  if (fleet.scale_in_held_tasks) parts.push(part("+", "kept", fleet.scale_in_held_tasks));
  parts.push(forScalers("=", "demand", fleet.demand_tasks));
  const ahead = scaledAhead(fleet) ? fleet.demand_ahead_tasks ?? 0 : 0, comes = ahead > (fleet.demand_tasks ?? 0);
  if (comes) parts.push(forScalers("≤", "ahead", ahead));
  const agents = comes ? Math.ceil(ahead / fleet.target_tasks_per_agent) : fleet.desired_agents;
  parts.push(forScalers(`÷ ${number(fleet.target_tasks_per_agent)} =`, "desired", agents));
  if (fleet.trusted && fleet.hpa_agents !== null && fleet.scalers?.length === 1) parts.push(forScalers("→", "an HPA", fleet.hpa_agents));
  return parts;
}

/** @param {Fleet} fleet @returns whether an autoscaler goes by the forecast too */
const scaledAhead = ({scalers}) => scalers?.some(({metrics}) => metrics.some((name) => name.includes("demand_ahead"))) ?? false;

/** @param {Part[]} parts @returns {string} the same as a sentence, for who hears it */
export const sumInWords = (parts) => parts.map(({op, term, value}) => [OPS[op] ?? op, term, value].filter(Boolean).join(" ")).join(" ");
/** @type {Record<string, string>} */
const OPS = {"+": "plus", "=": "is", "→": "so", "≤": "at most"};

/**
 * What scales the fleet, and to what its bounds lead; null where that is not known, which is not the same as that nothing does.
 *
 * @param {Fleet} fleet
 * @returns {{text: string, inactive: boolean}[] | null}
 */
export function scalerLines(fleet) {
  if (fleet.scalers === null) return null;
  if (!fleet.scalers.length) return [{text: "no HPA scales it", inactive: false}];
  const so = fleet.scalers.length === 1 && fleet.trusted ? outcome(fleet, fleet.scalers[0]) : "";
  return fleet.scalers.map((scaler) => ({
    text: `HPA ${scaler.name}${scaler.keda ? " (KEDA)" : ""}: ${number(scaler.min_agents)} – ${number(scaler.max_agents)} agents${so}; `
      + `its last decision ${number(scaler.desired_agents)}, ${number(there(fleet))} there`,
    inactive: scaler.active?.holds === false,
  }));
}

/** @param {Fleet} fleet @param {Scaler} scaler */
function outcome(fleet, scaler) {
  const settles = fleet.hpa_agents;
  if (settles === null) return "";
  const bound = settles === scaler.max_agents || settles === scaler.min_agents;
  return settles === fleet.desired_agents || bound ? `, so ${number(settles)}` : `, tolerates 10 %, so ${number(settles)}`;
}

// -- beside it ----------------------------------------------------------------------------------------------------------

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
  const beside = fleet.tasks_active === running ? "" : `, ${number((fleet.tasks_active ?? 0) - running)} more run on agents that do not serve`;
  return {
    running: share(running),
    queued: share(queued),
    limit: capacity && capacity < whole ? share(capacity) : null,
    label: `${number(running)} of ${number(capacity)} slots in use, ${free(fleet)} free, ${number(fleet.tasks_queued)} queued${beside}`,
  };
}

/** @param {Fleet} fleet */
const free = (fleet) => `${fleet.free_slots_certain || !fleet.free_slots ? "" : "≤ "}${number(fleet.free_slots)}`;

/**
 * What else is known of a fleet; what is not, and what is nothing, is left out.
 *
 * @param {Fleet} fleet
 * @param {Agent[]} agents its own
 * @param {number} lost tasks within a day
 * @returns {{term: Term, value: string, tone: string}[]}
 */
export function facts(fleet, agents, lost) {
  /** @type {{term: Term, value: string, tone: string}[]} */
  const said = [];
  /** @param {Term} term @param {string} value @param {string} tone */
  const say = (term, value, tone = "") => said.push({term, value, tone});
  const age = fleet.reading_age_seconds, guarded = agents.filter(({kubernetes}) => kubernetes?.protected).length;
  if (lost) say("lost in 24 h", counted(lost, "task"), "bad");
  if (fleet.tasks_draining) say("draining", counted(fleet.tasks_draining, "task"));
  if (age !== null) say("oldest reading", lasting(age), age > OLD_READING_SECONDS ? "doubtful" : "");
  if (fleet.restarts !== null) say("restarts", number(fleet.restarts));
  if (fleet.usual_start_seconds !== null) say("usual start", lasting(fleet.usual_start_seconds));
  if (guarded) say("protected", `${guarded} of ${agents.length}`);
  return said;
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
  const within = `forecast ${counted(tasks, "task")} within ${lasting(lead)}${like ? ` (as on ${like})` : ""}`;
  const age = time === null || read === null ? 0 : time - read;
  const old = age > OLD_PAST_SECONDS ? `; its past was last read ${lasting(age)} ago` : "";
  return {text: `${within}, skill ${number(skill)}; demand ahead ${ahead === null ? "withheld" : number(ahead)}${old}`, doubtful: old !== ""};
}
