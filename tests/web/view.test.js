// What the status page shows of the exporter's documents: the part of its script that needs no browser.
import assert from "node:assert/strict";
import {test} from "node:test";

import {
  agentTone, banner, chosen, clock, departure, figures, fleetName, forecastLine, lasting, load, memory, noAgents, noDepartures, number,
  percent, scalerLine, states, title,
} from "../../exporter/web/static/view.js";

/** @typedef {import("../../exporter/web/static/view.js").Fleet} Fleet */
/** @typedef {import("../../exporter/web/static/view.js").Agent} Agent */

const NOW = 1_767_234_600;

/** @param {Partial<Fleet>} given @param {Partial<Fleet["agents"]>} agents @returns {Fleet} one agent with 12 tasks */
const makeFleet = (given = {}, agents = {}) => ({
  namespace: "matillion", fleet: "etl", trusted: true, untrusted_reason: null, health: "ok", attention: 0, problems: [], remarks: [], scalers: null,
  agents: {total: 1, serving: 1, unreachable: 0, disconnected: 0, stopped: 0, starting: 0, draining: 0, ...agents},
  desired_agents: 1, hpa_agents: 1, capacity_tasks: 20, tasks_active: 12, tasks_serving: 12, tasks_queued: 0, held_tasks: 0,
  demand_tasks: 12, demand_ahead_tasks: 12, free_slots: 8, free_slots_certain: true, forecast: null, ...given,
});

/** @param {Partial<Agent>} given @returns {Agent} */
const makeAgent = (given = {}) => ({
  namespace: "matillion", fleet: "etl", pod: "agent-1", state: "serving", reason: "serving 12 tasks", needs_attention: false,
  drain_cut_short: false, fresh: true, version: "11.50.0", tasks_active: 12, tasks_queued: 0, heap_used_bytes: 1, heap_limit_bytes: 3,
  memory_working_set_bytes: null, kubernetes: null, ...given,
});

/** @param {Fleet} fleet @param {string} term */
const shown = (fleet, term) => {
  const {value, rest, withheld} = figures(fleet).find((figure) => figure.term === term) ?? assert.fail(term);
  return {text: rest ? `${value} ${rest}` : value, withheld};
};

test("a number is rounded to a tenth, and what is not known is no number", () => {
  assert.deepEqual([0, 12, 12.34, 0.05, null, undefined].map(number), ["0", "12", "12.3", "0.1", "?", "?"]);
});

test("a share needs a part and a whole", () => {
  assert.equal(percent(1, 3), "33 %");
  assert.equal(percent(0, 3), "0 %");
  for (const [part, whole] of [[null, 3], [1, null], [1, 0]]) assert.equal(percent(part, whole), null);
});

test("the title counts the agents in trouble", () => {
  assert.deepEqual([0, 1, 2].map(title), [
    "Matillion fleets", "1 agent in trouble · Matillion fleets", "2 agents in trouble · Matillion fleets",
  ]);
});

test("the banner says what is wrong, and how old what is shown is", () => {
  assert.equal(banner(null, null, NOW), "");
  assert.equal(banner(null, "no list of pods yet", null), "Not ready yet: no list of pods yet");
  assert.equal(banner("HTTP 500", "no list of pods yet", null), "No answer from the exporter: HTTP 500.");
  assert.equal(banner("HTTP 500", null, NOW), `No answer from the exporter: HTTP 500. What is shown is from ${clock(NOW, true)}.`);
});

test("an instant is shown with seconds where it is asked for", () => {
  assert.match(clock(NOW), /^\d\d:\d\d( [AP]M)?$/);
  assert.match(clock(NOW, true), /^\d\d:\d\d:00( [AP]M)?$/);
});

test("a fleet's figures, and what each is of", () => {
  const fleet = makeFleet({tasks_active: 54, tasks_serving: 54, capacity_tasks: 40, tasks_queued: 8, held_tasks: 12, demand_tasks: 74}, {total: 3, draining: 1});
  assert.deepEqual(figures(fleet).map(({term}) => term), ["running", "free", "queued", "held", "demand", "desired"]);
  assert.equal(shown(fleet, "running").text, "54 of 40");
  assert.equal(shown(fleet, "queued").text, "8");
  assert.equal(shown(fleet, "held").text, "12");
  assert.equal(shown(fleet, "desired").text, "1 (2 there)");
  for (const {meaning} of figures(fleet)) assert.ok(meaning.length > 20);
});

test("what runs beside the slots is not said to be of them", () => {
  assert.equal(shown(makeFleet({tasks_active: 61, tasks_serving: 13}), "running").text, "61 (13 of 20)");
});

test("an HPA's own sum is shown where it differs", () => {
  assert.equal(shown(makeFleet({desired_agents: 4, hpa_agents: 5}), "desired").text, "4 (1 there, an HPA: 5)");
  assert.equal(shown(makeFleet({desired_agents: 4, hpa_agents: null}), "desired").text, "4 (1 there)");
});

test("what an untrusted fleet must not tell a scaler is withheld, the rest is shown", () => {
  const fleet = makeFleet({trusted: false, untrusted_reason: "only 0 of 3 agents respond", demand_tasks: 48, tasks_active: null, tasks_serving: null});
  for (const term of ["demand", "desired"]) assert.deepEqual(shown(fleet, term), {text: "withheld", withheld: true});
  assert.deepEqual(shown(fleet, "running"), {text: "? of 20", withheld: false});
});

test("free slots are an upper bound where it is not certain that they can be used", () => {
  assert.equal(shown(makeFleet({free_slots: 24, free_slots_certain: false}), "free").text, "≤ 24");
  assert.equal(shown(makeFleet({free_slots: 0, free_slots_certain: false}), "free").text, "0");
  assert.equal(shown(makeFleet({free_slots: null, free_slots_certain: false}), "free").text, "?");
});

test("the bar ends where the slots end, or the work", () => {
  assert.deepEqual(load(makeFleet()), {running: 60, queued: 0, limit: null, label: "12 of 20 slots in use, 0 queued"});
  const over = load(makeFleet({tasks_serving: 30, tasks_queued: 10}));
  assert.deepEqual(over, {running: 75, queued: 25, limit: 50, label: "30 of 20 slots in use, 10 queued"});
  const unqueued = load(makeFleet({capacity_tasks: 0, tasks_serving: 0, tasks_queued: null}));
  assert.deepEqual(unqueued, {running: 0, queued: 0, limit: null, label: "0 of 0 slots in use, ? queued"});
  assert.equal(load(makeFleet({capacity_tasks: 0, tasks_serving: 3}))?.limit, null);
  assert.equal(load(makeFleet({tasks_serving: null})), null);
  const lost = load(makeFleet({tasks_active: 65, tasks_serving: 10}));
  assert.equal(lost?.running, 50, "a task on an agent that lost the control plane fills no slot");
});

test("states are counted in one order, and none of which there is no agent", () => {
  assert.deepEqual(states(makeFleet({}, {draining: 2, unreachable: 1, serving: 3})), [["serving", 3], ["unreachable", 1], ["draining", 2]]);
});

test("a scaler's bounds and decision stand in a line", () => {
  const scaler = {name: "a", keda: false, min_agents: 2, max_agents: 12, desired_agents: 3, active: null};
  assert.equal(scalerLine(scaler), "HPA a: 2 – 12 agents, desired 3");
  assert.equal(scalerLine({...scaler, keda: true, desired_agents: null}), "HPA a (KEDA): 2 – 12 agents, desired ?");
});

test("agents that need attention come first, then by how urgent their state is", () => {
  const agents = [
    makeAgent({pod: "idle"}), makeAgent({pod: "leaving", state: "draining"}),
    makeAgent({pod: "ending", state: "draining", needs_attention: true, drain_cut_short: true}),
    makeAgent({pod: "hot", needs_attention: true}), makeAgent({pod: "away", state: "unreachable", needs_attention: true}),
  ];
  /** @param {boolean} all @param {string} search */
  const pods = (all, search) => chosen(agents, all, search).map(({pod}) => pod);
  assert.deepEqual(pods(false, ""), ["ending", "away", "hot"]);
  assert.deepEqual(pods(true, ""), ["ending", "away", "hot", "idle", "leaving"]);
  assert.deepEqual(pods(true, "  ETL   unreach "), ["away"]);
  assert.deepEqual(pods(false, "idle"), []);
});

test("a stretch of time has the unit that suits it", () => {
  assert.deepEqual([0, 45.4, 119, 120, 205.3, 7199, 7200, 21_600].map(lasting), ["0 s", "45 s", "119 s", "2 min", "3.4 min", "120 min", "2 h", "6 h"]);
});

test("a forecast is said with what it is worth, or why there is none", () => {
  const forecast = {tasks: 48, skill: 0.9, lead_time_seconds: 180, past_read_time_seconds: NOW - 60, withheld_reason: null, like_days: "the last 14 days"};
  const line = (/** @type {Partial<typeof forecast> | object} */ given, fleet = {}, /** @type {number | null} */ time = NOW) =>
    forecastLine(makeFleet({forecast: {...forecast, ...given}, demand_ahead_tasks: 48, ...fleet}), time);
  assert.equal(forecastLine(makeFleet(), NOW), null);
  assert.deepEqual(line({}), {text: "forecast 48 tasks within 3 min (as on the last 14 days), skill 0.9; demand ahead 48", doubtful: false});
  assert.equal(line({tasks: 1, like_days: null})?.text, "forecast 1 task within 3 min, skill 0.9; demand ahead 48");
  assert.match(line({}, {demand_ahead_tasks: null})?.text ?? "", /; demand ahead withheld$/);
  const old = line({past_read_time_seconds: NOW - 10_800});
  assert.match(old?.text ?? "", /; its past was last read 3 h ago$/);
  assert.equal(old?.doubtful, true);
  for (const known of [line({past_read_time_seconds: null}), line({past_read_time_seconds: NOW - 10_800}, {}, null)]) assert.equal(known?.doubtful, false);
  const withheld = {tasks: null, withheld_reason: "2 days of history, at least 3 are needed", like_days: null};
  assert.deepEqual(line(withheld), {text: "no forecast: 2 days of history, at least 3 are needed", doubtful: true});
  assert.equal(line({...withheld, withheld_reason: null})?.text, "no forecast: ?");
});

test("a drain that was cut short is as bad as a lost agent; any other is usual", () => {
  assert.equal(agentTone(makeAgent({state: "draining", drain_cut_short: true})), "bad");
  assert.equal(agentTone(makeAgent({state: "draining"})), "faint");
});

test("a search finds names, state, reason and version, each word anywhere", () => {
  const agent = makeAgent({reason: "restarted 4 times", version: "11.50.0"});
  for (const search of ["matillion/etl", "agent-1", "serving", "RESTARTED", "11.50", "times agent"]) {
    assert.equal(chosen([agent], true, search).length, 1, search);
  }
  assert.equal(chosen([makeAgent({version: null})], true, "null").length, 0);
});

test("where no agent is shown, it is said why, and only good where there are some", () => {
  assert.deepEqual(noAgents(3, ""), {text: "No agent needs attention.", good: true});
  assert.deepEqual(noAgents(3, "x"), {text: "No agent matches.", good: false});
  for (const search of ["", "x"]) assert.deepEqual(noAgents(0, search), {text: "No agent was found.", good: false});
});

test("memory is the container's where it is known, else the heap", () => {
  const container = {memory_working_set_bytes: 3, kubernetes: {memory_limit_bytes: 4}};
  assert.equal(memory(makeAgent(container)), "75 %");
  assert.equal(memory(makeAgent({...container, kubernetes: {memory_limit_bytes: null}})), "33 %");
  assert.equal(memory(makeAgent({memory_working_set_bytes: 3})), "33 %");
  assert.equal(memory(makeAgent({heap_limit_bytes: null})), null);
});

test("a fleet's name has its namespace", () => {
  assert.equal(fleetName(makeFleet()), "matillion/etl");
});

test("a departure says what made the agent leave, and how its tasks ended", () => {
  /** @type {import("../../exporter/web/static/view.js").Departure} */
  const drains = {
    namespace: "matillion", fleet: "etl", pod: "a", cause: "scale-in", requested_time_seconds: NOW, tasks_at_request: 7, ended_time_seconds: null,
    tasks_lost: null, reason: null,
  };
  const when = clock(NOW, true);
  assert.deepEqual(departure(drains), {when, cause: "scale-in", tasks: "7", lost: "–", end: "draining", tone: "faint"});
  const ended = {...drains, ended_time_seconds: NOW, cause: "rollout", tasks_lost: 0};
  assert.deepEqual(departure(ended), {when, cause: "rollout", tasks: "7", lost: "0", end: "finished", tone: "good"});
  const unknown = {...ended, cause: "deletion", tasks_at_request: null, tasks_lost: null, reason: "GraceExceeded"};
  assert.deepEqual(departure(unknown), {when, cause: "deletion", tasks: "?", lost: "?", end: "GraceExceeded", tone: "bad"});
  assert.equal(departure({...unknown, reason: null}).end, "?");
  const killed = {...unknown, cause: "ended", requested_time_seconds: null, tasks_lost: 18, reason: "OOMKilled"};
  assert.deepEqual(departure(killed), {when, cause: "ended", tasks: "–", lost: "18", end: "OOMKilled", tone: "bad"});
  assert.equal(departure({...killed, ended_time_seconds: null}).when, "?");
  assert.deepEqual([noDepartures(null), noDepartures(NOW)], ["", `No agent has left since ${clock(NOW)}.`]);
});
