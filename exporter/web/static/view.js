// What the exporter's documents have, in words: what stands above and below the fleets. Pure: no DOM, no network, no clock.
// Nothing is classified here: a fleet's health, which agents need attention, why, and what is withheld comes from the exporter.

/**
 * The documents, as far as the page reads them (docs/http.md has every field). null = not known, or withheld.
 *
 * @typedef {"down" | "data incomplete" | "degraded" | "not looked at yet" | "ok"} Health "not looked at yet" is the page's own word
 * @typedef {"serving" | "unreachable" | "disconnected" | "stopped" | "starting" | "draining"} State
 * @typedef {{name: string, keda: boolean, min_agents: number | null, max_agents: number | null, desired_agents: number | null,
 *   active: {holds: boolean | null} | null, metrics: string[]}} Scaler
 * @typedef {Record<State | "total", number>} Counts
 * @typedef {{tasks: number | null, skill: number | null, lead_time_seconds: number, past_read_time_seconds: number | null,
 *   withheld_reason: string | null, like_days: string | null}} Forecast of a fleet; there is none without the setting
 * @typedef {{namespace: string, fleet: string, health: Health, problems: string[], attention: number, trusted: boolean,
 *   untrusted_reason: string | null, remarks: string[], runbook: string | null, agents: Counts, desired_agents: number | null, hpa_agents: number | null,
 *   capacity_tasks: number, tasks_per_agent: number, target_tasks_per_agent: number, tasks_active: number | null,
 *   tasks_serving: number | null, tasks_queued: number | null, tasks_draining: number | null, held_tasks: number | null,
 *   replacement_tasks: number | null, unseen_queue_tasks: number | null, scale_in_held_tasks: number | null,
 *   demand_tasks: number | null, demand_ahead_tasks: number | null, free_slots: number | null, free_slots_certain: boolean,
 *   reading_age_seconds: number | null, restarts: number | null, usual_start_seconds: number | null,
 *   scalers: Scaler[] | null, forecast: Forecast | null}} Fleet
 * @typedef {{namespace: string, fleet: string, pod: string, uid: string, state: State, reason: string, needs_attention: boolean,
 *   looked_at: boolean, runbook: string | null, drain_cut_short: boolean, refusing: string | null, fresh: boolean, version: string | null,
 *   tasks_active: number | null, tasks_queued: number | null, heap_used_bytes: number | null, heap_limit_bytes: number | null,
 *   memory_working_set_bytes: number | null, kubernetes: Pod | null}} Agent
 * @typedef {{memory_limit_bytes: number | null, restarts: number | null, protected: boolean | number | null, node: string | null,
 *   created_time_seconds: number | null, started_time_seconds: number | null, waiting_reason: string | null}} Pod
 * @typedef {{namespace: string, fleet: string, pod: string, uid: string, cause: string, requested_time_seconds: number | null,
 *   tasks_at_request: number | null, ended_time_seconds: number | null, tasks_lost: number | null, reason: string | null}} Departure
 * @typedef {{namespace: string, fleet: string, tasks_lost: number}} Loss
 * @typedef {"capacity_tasks" | "tasks_active" | "tasks_queued" | "demand_tasks" | "forecast_tasks" | "tasks_lost"} Charted
 * @typedef {{interval_seconds: number, start_time_seconds: number, demand_tasks: (number | null)[]}} Ahead the demand that is expected
 * @typedef {{interval_seconds: number, start_time_seconds: number, demand_tasks: (number | null)[]}} Stored the demand there was
 * @typedef {{time_seconds: number[], ahead: Ahead | null, stored: Stored | null} & Record<Charted, (number | null)[]>} Points
 * @typedef {{namespace: string, fleet: string} & Points} Track
 * @typedef {{spool_datums: number | null, spool_oldest_age_seconds: number | null, spool_durable: boolean,
 *   estimated_monthly_cost_dollars: number | null, requests: Record<string, number>}} CloudWatch
 *
 * @typedef {{fleets: Fleet[], remarks: string[], time_seconds: number}} FleetsDocument
 * @typedef {{agents: Agent[], time_seconds: number}} AgentsDocument
 * @typedef {{departures: Departure[], since_time_seconds: number, lost_in_a_day: Loss[]}} DeparturesDocument
 * @typedef {{history: Track[]}} HistoryDocument
 * @typedef {{version: string, cluster: string | null, instance: string | null, leads: boolean | null, other_leader: string | null,
 *   not_ready_reason: string | null, out_of_service_reason: string | null, targets: number | null, sync_age_seconds: number | null,
 *   cloudwatch: CloudWatch | null, external_metrics: {requests: Record<string, number>} | null}} ExporterDocument
 */

/** @type {Health[]} worst first */
const HEALTHS = ["down", "data incomplete", "degraded", "not looked at yet", "ok"];
/** @type {Record<Health, string>} */
export const HEALTH_TONE = {down: "bad", "data incomplete": "doubtful", degraded: "doubtful", "not looked at yet": "faint", ok: "good"};
const MOST_TROUBLES = 8; // named at the top; the cards below have all

/** Seconds that data waits for CloudWatch before it is said on top: some intervals of publishing. */
const LONG_WAIT_SECONDS = 300;

// -- words --------------------------------------------------------------------------------------------------------------

// Made once: each takes longer to make than to use a hundred times.
const NUMBERS = new Intl.NumberFormat("en-US", {maximumFractionDigits: 1});
const [MINUTES, SECONDS] = [undefined, /** @type {const} */ ("2-digit")].map((second) =>
  new Intl.DateTimeFormat([], {hour: "2-digit", minute: "2-digit", second, hourCycle: "h23"}));

/** @param {number | null | undefined} value undefined where a page that was opened before an upgrade asks what is gone since */
export const number = (value) =>
  (value === null || value === undefined ? "?" : NUMBERS.format(Math.round(value * 10) / 10));
/** @param {number | null} part @param {number | null} whole */
export const percent = (part, whole) => (part === null || !whole ? null : `${Math.round((100 * part) / whole)} %`);
/** @param {number} count @param {string} thing @param {string} things */
export const counted = (count, thing, things = `${thing}s`) => `${number(count)} ${count === 1 ? thing : things}`;
/** @param {number} seconds Unix time */
export const clock = (seconds, withSeconds = false) => (withSeconds ? SECONDS : MINUTES).format(seconds * 1000);
/** @param {number} seconds a stretch of time, in the unit that suits it */
export function lasting(seconds) {
  if (seconds < 120) return `${Math.round(seconds)} s`;
  if (seconds < 7200) return `${number(seconds / 60)} min`;
  return seconds < 172_800 ? `${number(seconds / 3600)} h` : `${Math.round(seconds / 86_400)} d`;
}
/** @param {{namespace: string, fleet: string}} one */
export const fleetName = (one) => `${one.namespace}/${one.fleet}`;
/** @param {Fleet[]} fleets @param {(fleet: Fleet) => number} value */
const total = (fleets, value) => fleets.reduce((sum, fleet) => sum + value(fleet), 0);

// -- on top -------------------------------------------------------------------------------------------------------------

/**
 * A fleet as it may be shown: that an exporter which has just started has not read its agents says nothing about it.
 *
 * @param {Fleet} fleet
 * @param {boolean} ready
 * @returns {Fleet}
 */
export const asSeen = (fleet, ready) => (ready || fleet.health !== "data incomplete" ? fleet : {...fleet, health: "not looked at yet", problems: [], runbook: null});

/** @param {Fleet[]} fleets @returns {Fleet[]} the worst first, then by how many agents need attention */
export const worstFirst = (fleets) => fleets.toSorted((one, other) => HEALTHS.indexOf(one.health) - HEALTHS.indexOf(other.health)
  || other.attention - one.attention || (fleetName(one) < fleetName(other) ? -1 : 1));

/**
 * How all fleets are, in a line.
 *
 * @param {Fleet[]} fleets
 * @returns {{text: string, tone: string}} the tone of the worst
 */
export function summary(fleets) {
  if (!fleets.length) return {text: "No fleet was found.", tone: "faint"};
  const needing = total(fleets, (fleet) => fleet.attention), agents = total(fleets, (fleet) => fleet.agents.total);
  const there = needing ? `${number(needing)} of ${counted(agents, "agent")} need${needing === 1 ? "s" : ""} attention`
    : `${counted(agents, "agent")}, none needs attention`;
  const worst = worstFirst(fleets)[0].health, tone = HEALTH_TONE[worst];
  if (fleets.length === 1) return {text: `${fleetName(fleets[0])} ${VERBS[worst] ?? `is ${worst}`}: ${there}`, tone};
  const words = HEALTHS.slice(0, -1).map((health) => ({health, count: fleets.filter((fleet) => fleet.health === health).length}))
    .filter(({count}) => count);
  if (!words.length) return {text: `${fleets.length === 2 ? "Both" : `All ${number(fleets.length)}`} fleets ok: ${there}`, tone};
  const fleetWords = words.map(({health, count}, at) => (at ? `${count} ${phrase(health)}` : `${count} of ${fleets.length} fleets ${phrase(health)}`));
  return {text: [...fleetWords, there].join(", "), tone};
}

/** @param {Health} health as part of a sentence */
const phrase = (health) => (health === "data incomplete" ? "with incomplete data" : health);
/** @type {Partial<Record<Health, string>>} of one fleet, where "is" does not fit */
const VERBS = {"data incomplete": "has incomplete data", "not looked at yet": "was not looked at yet"};

/**
 * What is wrong now, a line for each fleet that is not ok; none where one card says it all.
 *
 * @param {Fleet[]} fleets
 * @returns {{fleets: Fleet[], more: number}}
 */
export function troubles(fleets) {
  const wrong = fleets.length > 1 ? worstFirst(fleets).filter((fleet) => fleet.health !== "ok") : [];
  return {fleets: wrong.slice(0, MOST_TROUBLES), more: Math.max(0, wrong.length - MOST_TROUBLES)};
}

/** @param {Fleet[]} fleets */
export function title(fleets) {
  const down = fleets.filter((fleet) => fleet.health === "down").length, needing = total(fleets, (fleet) => fleet.attention);
  const said = [down ? `${counted(down, "fleet")} down` : "", needing ? `${counted(needing, "agent")} in trouble` : ""].filter(Boolean);
  return [...said, "Matillion fleets"].join(" · ");
}

/**
 * What stands above everything, "" if nothing does.
 *
 * @param {string | null} trouble why the exporter gave no answer
 * @param {ExporterDocument | null} exporter
 * @param {number | null} time Unix time of what is shown
 * @param {boolean} kept whether what is shown is from before the exporter's restart
 */
export function banner(trouble, exporter, time, kept) {
  const from = time === null ? "" : ` What is shown is from ${clock(time, true)}.`;
  if (trouble !== null) return `No answer from the exporter: ${trouble}.${from}`;
  if (exporter?.not_ready_reason) {
    return kept ? `The exporter was restarted and is not ready yet: ${exporter.not_ready_reason}.${from}` : `Not ready yet: ${exporter.not_ready_reason}`;
  }
  return exporter?.out_of_service_reason ? `Ask another replica: ${exporter.out_of_service_reason}` : "";
}

// -- the exporter -------------------------------------------------------------------------------------------------------

/**
 * What goes wrong beside the fleets.
 *
 * @param {ExporterDocument} exporter
 * @returns {string[]}
 */
export function exporterTroubles({cloudwatch, external_metrics: external}) {
  const said = [], waited = cloudwatch?.spool_oldest_age_seconds ?? 0;
  if (cloudwatch && waited > LONG_WAIT_SECONDS) {
    said.push(`CloudWatch has accepted nothing for ${lasting(waited)}: ${counted(cloudwatch.spool_datums ?? 0, "datum", "data")} wait in the spool`);
  }
  const refused = external ? Object.values(external.requests).reduce((sum, count) => sum + count, 0) : 0;
  if (refused && !external?.requests[200]) {
    said.push(`The external metrics API has refused each of ${counted(refused, "request")}: no autoscaler gets a figure from this replica`);
  }
  if (cloudwatch?.spool_durable === false) said.push("The spool is not durable: what waits for CloudWatch is lost with a restart of the exporter");
  return said;
}

/**
 * What the exporter is, and how its other work goes.
 *
 * @param {ExporterDocument} exporter
 * @returns {[string, string][]}
 */
export function exporterFacts({version, cluster, instance, leads, other_leader: other, targets, sync_age_seconds: age, cloudwatch, external_metrics: external}) {
  const leader = leads === null ? "not needed" : leads ? "this replica" : other ?? "another replica, or none";
  return [
    ["cluster", cluster ?? "not named (setting cluster)"],
    ["this replica", instance ?? "not in Kubernetes"],
    ["version", version],
    ["leader", leader],
    ["agents known", `${number(targets)}${age === null ? "" : `, confirmed ${lasting(age)} ago`}`],
    ["CloudWatch", cloudwatch === null ? "off" : published(cloudwatch, leads)],
    ["external metrics", external === null ? "off" : requests(external.requests)],
  ];
}

/** @param {CloudWatch} cloudwatch @param {boolean | null} leads */
function published({spool_datums: waiting, spool_oldest_age_seconds: age, estimated_monthly_cost_dollars: cost, requests: asked}, leads) {
  if (leads === false) return "sent by the leader";
  const spool = waiting ? `${number(waiting)} waiting, the oldest ${lasting(age ?? 0)}` : "nothing waits";
  return `${spool}; ${requests(asked)}${cost === null ? "" : `; some $${number(cost)} a month`}`;
}

/** @param {Record<string, number>} counts by outcome */
function requests(counts) {
  const some = Object.entries(counts).filter(([, count]) => count);
  return some.length ? `requests since the start: ${some.map(([outcome, count]) => `${outcome}: ${number(count)}`).join(", ")}` : "no request yet";
}
