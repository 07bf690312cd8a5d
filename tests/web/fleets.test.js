// What a fleet's card shows: the part of the page's script that needs no browser.
import assert from "node:assert/strict";
import {test} from "node:test";

import {MEANING, facts, forecastLine, load, scalerLines, states, sum, sumInWords} from "../../exporter/web/static/fleets.js";
import {NOW, makeAgent, makeFleet, makePod} from "./documents.js";

/** @typedef {import("../../exporter/web/static/view.js").Fleet} Fleet */
/** @typedef {import("../../exporter/web/static/view.js").Scaler} Scaler */

/** @type {Scaler} */
const SCALER = {name: "etl-prod", keda: false, min_agents: 2, max_agents: 12, desired_agents: 12, active: null, metrics: ["matillion_fleet_demand_tasks"]};

/** @param {Fleet} fleet @returns {string} */
const written = (fleet) => sum(fleet).map(({op, term, value}) => `${op} ${term} ${value}`.trim()).join(" ");

test("the sum is shown with all its parts, and what an HPA makes of it", () => {
  const fleet = makeFleet({
    tasks_active: 191, tasks_queued: 0, held_tasks: 31, replacement_tasks: 48, demand_tasks: 270, desired_agents: 17, hpa_agents: 12, scalers: [SCALER],
  });
  assert.equal(written(fleet), "running 191 + queued 0 + assumed 31 + replaced 48 + unseen 0 = demand 270 ÷ 16 = desired 17 → an HPA 12");
  assert.equal(sumInWords(sum(fleet)),
    "running 191 plus queued 0 plus assumed 31 plus replaced 48 plus unseen 0 is demand 270 ÷ 16 = desired 17 so an HPA 12");
  assert.deepEqual(sum(fleet).map(({tone}) => tone), ["", "faint", "", "", "faint", "result", "result", "result"]);
  assert.match(written(makeFleet({scale_in_held_tasks: 20})), /\+ kept 20 = demand/);
  for (const term of sum(fleet).map((part) => part.term)) assert.ok(MEANING[term].length > 20);
});

test("no autoscaler is told of where none is known, or more than one", () => {
  for (const scalers of [null, [], [SCALER, SCALER]]) assert.doesNotMatch(written(makeFleet({scalers})), /HPA/);
  assert.doesNotMatch(written(makeFleet({scalers: [SCALER], hpa_agents: null})), /HPA/);
});

test("what an untrusted fleet must not tell a scaler is withheld, the rest is shown", () => {
  const fleet = makeFleet({trusted: false, untrusted_reason: "only 0 of 3 agents respond", tasks_active: null, tasks_queued: null, demand_tasks: null,
    desired_agents: null, hpa_agents: null, scalers: [SCALER]});
  assert.equal(written(fleet), "running ? + queued ? + assumed 0 + replaced 0 + unseen 0 = demand withheld ÷ 16 = desired withheld");
});

test("a scaler that follows the forecast divides the greater of both", () => {
  const scalers = [{...SCALER, metrics: ["matillion_fleet_demand_ahead_tasks"]}];
  assert.match(written(makeFleet({demand_tasks: 12, demand_ahead_tasks: 48, scalers, hpa_agents: 3})), /= demand 12 ≤ ahead 48 ÷ 16 = desired 3 → an HPA 3$/);
  assert.doesNotMatch(written(makeFleet({scalers})), /ahead/, "the forecast is below the demand");
  assert.doesNotMatch(written(makeFleet({demand_tasks: null, demand_ahead_tasks: null, trusted: false, scalers})), /ahead/);
  assert.doesNotMatch(written(makeFleet({demand_ahead_tasks: 48, scalers: [SCALER]})), /ahead/);
});

test("a scaler's bounds lead to its number of agents", () => {
  const lines = (/** @type {Partial<Fleet>} */ given) => scalerLines(makeFleet({scalers: [SCALER], ...given}))?.map(({text}) => text);
  assert.equal(scalerLines(makeFleet()), null);
  assert.deepEqual(lines({scalers: []}), ["no HPA scales it"]);
  assert.deepEqual(lines({desired_agents: 17, hpa_agents: 12}), ["HPA etl-prod: 2 – 12 agents, so 12; its last decision 12, 1 there"]);
  assert.deepEqual(lines({desired_agents: 1, hpa_agents: 2}), ["HPA etl-prod: 2 – 12 agents, so 2; its last decision 12, 1 there"]);
  assert.deepEqual(lines({desired_agents: 5, hpa_agents: 5}), ["HPA etl-prod: 2 – 12 agents, so 5; its last decision 12, 1 there"]);
  assert.deepEqual(lines({desired_agents: 5, hpa_agents: 6}), ["HPA etl-prod: 2 – 12 agents, tolerates 10 %, so 6; its last decision 12, 1 there"]);
  for (const given of [{hpa_agents: null}, {trusted: false}]) assert.deepEqual(lines(given), ["HPA etl-prod: 2 – 12 agents; its last decision 12, 1 there"]);
  const keda = {...SCALER, keda: true, desired_agents: null, active: {holds: false}};
  assert.deepEqual(scalerLines(makeFleet({scalers: [keda, SCALER]})), [
    {text: "HPA etl-prod (KEDA): 2 – 12 agents; its last decision ?, 1 there", inactive: true},
    {text: "HPA etl-prod: 2 – 12 agents; its last decision 12, 1 there", inactive: false},
  ]);
});

test("the bar ends where the slots end, or the work", () => {
  assert.deepEqual(load(makeFleet()), {running: 60, queued: 0, limit: null, label: "12 of 20 slots in use, 8 free, 0 queued"});
  const over = load(makeFleet({tasks_active: 30, tasks_serving: 30, tasks_queued: 10, free_slots: 0, free_slots_certain: false}));
  assert.deepEqual(over, {running: 75, queued: 25, limit: 50, label: "30 of 20 slots in use, 0 free, 10 queued"});
  const unqueued = load(makeFleet({capacity_tasks: 0, tasks_active: 0, tasks_serving: 0, tasks_queued: null, free_slots: null}));
  assert.deepEqual(unqueued, {running: 0, queued: 0, limit: null, label: "0 of 0 slots in use, ? free, ? queued"});
  assert.equal(load(makeFleet({capacity_tasks: 0, tasks_serving: 3}))?.limit, null);
  assert.equal(load(makeFleet({tasks_serving: null})), null);
  const lost = load(makeFleet({tasks_active: 65, tasks_serving: 10}));
  assert.equal(lost?.running, 50, "a task on an agent that lost the control plane fills no slot");
  assert.match(lost?.label ?? "", /, 55 more run on agents that do not serve$/);
  assert.match(load(makeFleet({tasks_active: null}))?.label ?? "", /-12 more/, "which no exporter says");
  assert.match(load(makeFleet({free_slots_certain: false}))?.label ?? "", /, ≤ 8 free,/);
});

test("states are counted in one order, and none of which there is no agent", () => {
  assert.deepEqual(states(makeFleet({}, {draining: 2, unreachable: 1, serving: 3}), []), [["serving", 3], ["unreachable", 1], ["draining", 2]]);
});

test("an agent that nobody has looked at is not called unreachable", () => {
  const unread = makeAgent({state: "unreachable", looked_at: false});
  assert.deepEqual(states(makeFleet({}, {serving: 0, unreachable: 2}), [unread, makeAgent({state: "unreachable"})]), [["unreachable", 1], ["not looked at yet", 1]]);
});

test("what else is known is said, and what is not or is nothing is left out", () => {
  assert.deepEqual(facts(makeFleet({reading_age_seconds: null}), [], 0), []);
  const fleet = makeFleet({reading_age_seconds: 42, restarts: 3, usual_start_seconds: 95, tasks_draining: 7});
  const agents = [makeAgent({kubernetes: makePod({protected: true})}), makeAgent({kubernetes: makePod({protected: false})}), makeAgent()];
  assert.deepEqual(facts(fleet, agents, 12).map(({term, value, tone}) => [term, value, tone]), [
    ["lost in 24 h", "12 tasks", "bad"], ["draining", "7 tasks", ""], ["oldest reading", "42 s", "doubtful"], ["restarts", "3", ""],
    ["usual start", "95 s", ""], ["protected", "1 of 3", ""],
  ]);
  assert.deepEqual(facts(makeFleet(), [], 0).map(({tone}) => tone), [""]);
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
