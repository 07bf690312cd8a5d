// What the status page shows, decided from the exporter's documents. Pure: no DOM, no network, no clock; page.js draws it.
// Nothing is classified here: which agents need attention, why, and what is withheld comes from the exporter.

/**
 * The documents, as far as the page reads them (docs/http.md has every field). null = not known, or withheld.
 *
 * @typedef {"serving" | "unreachable" | "disconnected" | "stopped" | "starting" | "draining"} State
 * @typedef {{name: string, keda: boolean, min_agents: number | null, max_agents: number | null, desired_agents: number | null,
 *   active: {holds: boolean | null} | null}} Scaler
 * @typedef {Record<State | "total", number>} Counts
 * @typedef {{namespace: string, fleet: string, trusted: boolean, untrusted_reason: string | null, remarks: string[],
 *   agents: Counts, desired_agents: number | null, hpa_agents: number | null, capacity_tasks: number, tasks_active: number | null,
 *   tasks_serving: number | null, tasks_queued: number | null, held_tasks: number | null, demand_tasks: number | null,
 *   free_slots: number | null, free_slots_certain: boolean, scalers: Scaler[] | null}} Fleet
 * @typedef {{namespace: string, fleet: string, pod: string, state: State, reason: string, needs_attention: boolean,
 *   drain_cut_short: boolean, fresh: boolean, version: string | null, tasks_active: number | null, tasks_queued: number | null,
 *   heap_used_bytes: number | null, heap_limit_bytes: number | null, memory_working_set_bytes: number | null,
 *   kubernetes: {memory_limit_bytes: number | null} | null}} Agent
 * @typedef {{namespace: string, fleet: string, pod: string, cause: string, requested_time_seconds: number | null,
 *   tasks_at_request: number | null, ended_time_seconds: number | null, tasks_lost: number | null, reason: string | null}} Departure
 * @typedef {"capacity_tasks" | "tasks_active" | "tasks_queued" | "demand_tasks" | "tasks_lost"} Charted
 * @typedef {{time_seconds: number[]} & Record<Charted, (number | null)[]>} Points
 * @typedef {{namespace: string, fleet: string} & Points} Track
 *
 * @typedef {{fleets: Fleet[], remarks: string[]}} FleetsDocument
 * @typedef {{agents: Agent[], time_seconds: number}} AgentsDocument
 * @typedef {{departures: Departure[], since_time_seconds: number}} DeparturesDocument
 * @typedef {{history: Track[]}} HistoryDocument
 */

export const HISTORY_SECONDS = 15; // the exporter takes a point that often
/** @type {[string, number][]} */
export const RANGES = [["15 min", 900], ["1 h", 3600], ["6 h", 21600]];
/** @type {State[]} */
const STATES = ["serving", "unreachable", "disconnected", "stopped", "starting", "draining"];
/** @type {State[]} */
const URGENCY = ["unreachable", "disconnected", "stopped", "starting", "serving", "draining"];
/** @type {Record<State, string>} */
export const TONE = {serving: "good", starting: "doubtful", draining: "faint", unreachable: "bad", disconnected: "bad", stopped: "bad"};
/** @type {[string, Charted][]} */
const LINES = [["capacity", "capacity_tasks"], ["running", "tasks_active"], ["queued", "tasks_queued"], ["demand", "demand_tasks"]];

export const MEANING = {
  running: "tasks running, of what the serving agents can run at once; in brackets those on serving agents, where others run too",
  free: "slots of serving agents that no task has; ≤ where neither CPU nor memory is known, which may keep them from being used",
  queued: "tasks that wait for a slot; ? where no agent reports a queue",
  held: "tasks assumed on unreachable agents, so that the fleet is not scaled in",
  demand: "tasks the fleet should have capacity for: what the autoscaler receives",
  desired: "agents needed for the demand at the target load; an HPA tolerates 10 % around it, and keeps to its minimum and maximum",
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

// -- charts -------------------------------------------------------------------------------------------------------------

/**
 * Every fleet's points once an answer that has only the later ones has come, without those no chart reaches back to.
 *
 * @param {Map<string, Points>} known by the fleet's name
 * @param {Track[]} later
 * @param {number} now Unix time
 * @returns {Map<string, Points>} what the answer did not name is gone
 */
export function joined(known, later, now) {
  const oldest = now - Math.max(...RANGES.map(([, seconds]) => seconds));
  return new Map(later.map((track) => {
    const before = known.get(fleetName(track));
    const times = [...(before?.time_seconds ?? []), ...track.time_seconds];
    const skipped = Math.max(0, times.findIndex((time) => time >= oldest));
    /** @param {Charted} name */
    const column = (name) => [...(before?.[name] ?? []), ...(track[name] ?? track.time_seconds.map(() => null))].slice(skipped);
    return [fleetName(track), {
      time_seconds: times.slice(skipped), capacity_tasks: column("capacity_tasks"), tasks_active: column("tasks_active"),
      tasks_queued: column("tasks_queued"), demand_tasks: column("demand_tasks"), tasks_lost: column("tasks_lost"),
    }];
  }));
}

/** @param {Track[]} history @param {number} before @returns {number} the time of the last point of all */
export const lastTime = (history, before) =>
  history.reduce((last, track) => Math.max(last, ...track.time_seconds), before);

/**
 * The tasks lost within the last `range` seconds, each with its time: by how much the exporter's count grew from one point to
 * the next. A lower count is that of an exporter that was restarted, and began at 0.
 *
 * @param {Points | undefined} points
 * @param {number} now Unix time
 * @param {number} range seconds
 * @returns {[number, number][]}
 */
export function losses(points, now, range) {
  /** @type {[number, number][]} */
  const found = [];
  /** @type {number | null} */
  let before = null;
  points?.time_seconds.forEach((time, at) => {
    const count = points.tasks_lost[at];
    if (count === null) return;
    const grown = before === null ? 0 : count - (count < before ? 0 : before);
    if (grown > 0 && time >= now - range) found.push([time, grown]);
    before = count;
  });
  return found;
}

/** @param {[number, number][]} lost @param {number} range seconds @returns "" where nothing was lost */
export function lostLine(lost, range) {
  const tasks = lost.reduce((sum, [, grown]) => sum + grown, 0);
  if (!tasks) return "";
  return `${number(tasks)} running task${tasks === 1 ? "" : "s"} lost within the last ${rangeName(range)}`;
}

/** @param {number} range seconds */
const rangeName = (range) => RANGES.find(([, seconds]) => seconds === range)?.[0];

const WIDTH = 600, HEIGHT = 120, HEAD = 8, FOOT = 16;

/**
 * A fleet's chart over the last `range` seconds, as SVG paths; null while there are less than two points.
 *
 * @param {Points | undefined} points
 * @param {number} now Unix time
 * @param {number} range seconds
 */
export function chart(points, now, range) {
  const first = points ? points.time_seconds.findIndex((time) => time >= now - range) : -1;
  if (!points || first < 0 || points.time_seconds.length - first < 2) return null;
  const times = points.time_seconds.slice(first);
  const columns = LINES.map(([kind, name]) => ({kind, values: points[name].slice(first)}));
  const from = times[0], width = Math.max(now - from, 1), bottom = HEIGHT - FOOT;
  const highest = Math.max(...columns.flatMap(({values}) => values.map((value) => value ?? 0)));
  const x = (/** @type {number} */ time) => (WIDTH * (time - from)) / width;
  const y = (/** @type {number} */ value) => HEAD + (bottom - HEAD) * (1 - value / Math.max(highest, 1));
  const line = (/** @type {[number, number][]} */ run) =>
    run.map(([time, value], at) => `${at ? "L" : "M"}${x(time).toFixed(1)} ${y(value).toFixed(1)}`).join("");
  return {
    label: `tasks over the last ${rangeName(range)}`,
    box: `0 0 ${WIDTH} ${HEIGHT}`,
    axis: `M0 ${bottom}H${WIDTH}`,
    lost: losses(points, now, now - from).map(([time]) => `M${x(time).toFixed(1)} 0V${bottom}`).join(""),
    lines: columns.map(({kind, values}) => {
      const runs = unbroken(times, values);
      const area = runs.map((run) => `${line(run)}L${x(run[run.length - 1][0])} ${bottom}L${x(run[0][0])} ${bottom}Z`);
      return {kind, path: runs.map(line).join(""), area: kind === "running" ? area.join("") : null};
    }),
    /** @param {number} share of the width, from the left @returns the index of the point that is nearest */
    nearest(share) {
      const target = from + width * share;
      return times.reduce((best, time, at) => (Math.abs(time - target) < Math.abs(times[best] - target) ? at : best), 0);
    },
    /** @param {number} index */
    cursor: (index) => `M${x(times[index])} 0V${bottom}`,
    /** @param {number | null} index of the selected point @returns {{head: string, entries: [string, string][]}} */
    legend: (index) => index === null
      ? {head: `${clock(from)} – ${clock(now)}${highest ? `, up to ${number(highest)} tasks` : ""}`, entries: columns.map(({kind}) => [kind, kind])}
      : {head: clock(times[index], true), entries: columns.map(({kind, values}) => [kind, `${kind} ${number(values[index])}`])},
  };
}

/**
 * Stretches without a hole: unknown or missing points are not drawn over.
 *
 * @param {number[]} times
 * @param {(number | null)[]} values
 */
export function unbroken(times, values) {
  /** @type {[number, number][][]} */
  const runs = [];
  /** @type {[number, number][]} */
  let run = [];
  times.forEach((time, at) => {
    const value = values[at];
    if (value === null || (at > 0 && time - times[at - 1] > 4 * HISTORY_SECONDS)) run = [];
    if (value === null) return;
    if (!run.length) runs.push(run);
    run.push([time, value]);
  });
  return runs;
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
