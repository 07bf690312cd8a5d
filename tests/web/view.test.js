// What the status page shows of the exporter's documents: the part of its script that needs no browser.
import assert from "node:assert/strict";
import {test} from "node:test";

import {
  agentTone, banner, chart, chosen, clock, departure, figures, fleetName, joined, lastTime, load, losses, lostLine, memory, noAgents,
  noDepartures, number, percent, scalerLine, states, title, unbroken,
} from "../../exporter/web/static/view.js";

/** @typedef {import("../../exporter/web/static/view.js").Fleet} Fleet */
/** @typedef {import("../../exporter/web/static/view.js").Agent} Agent */
/** @typedef {import("../../exporter/web/static/view.js").Track} Track */

const NOW = 1_767_234_600;

/** @param {Partial<Fleet>} given @param {Partial<Fleet["agents"]>} agents @returns {Fleet} one agent with 12 tasks */
const makeFleet = (given = {}, agents = {}) => ({
  namespace: "matillion", fleet: "etl", trusted: true, untrusted_reason: null, remarks: [], scalers: null,
  agents: {total: 1, serving: 1, unreachable: 0, disconnected: 0, stopped: 0, starting: 0, draining: 0, ...agents},
  desired_agents: 1, hpa_agents: 1, capacity_tasks: 20, tasks_active: 12, tasks_serving: 12, tasks_queued: 0, held_tasks: 0,
  demand_tasks: 12, free_slots: 8, free_slots_certain: true, ...given,
});

/** @param {Partial<Agent>} given @returns {Agent} */
const makeAgent = (given = {}) => ({
  namespace: "matillion", fleet: "etl", pod: "agent-1", state: "serving", reason: "serving 12 tasks", needs_attention: false,
  drain_cut_short: false, fresh: true, version: "11.50.0", tasks_active: 12, tasks_queued: 0, heap_used_bytes: 1, heap_limit_bytes: 3,
  memory_working_set_bytes: null, kubernetes: null, ...given,
});

/** @param {number[]} times @param {(number | null)[]} running @param {string} fleet @returns {Track} */
const makeTrack = (times, running, fleet = "etl") => ({
  namespace: "matillion", fleet, time_seconds: times, tasks_active: running, capacity_tasks: times.map(() => 20),
  tasks_queued: times.map(() => null), demand_tasks: running, tasks_lost: times.map(() => 0),
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

test("later points are joined to those before, and too old ones are dropped", () => {
  const first = joined(new Map(), [makeTrack([NOW - 21_615, NOW - 21_600], [1, 2]), makeTrack([NOW], [7], "gone")], NOW);
  assert.deepEqual(first.get("matillion/etl")?.time_seconds, [NOW - 21_600]);
  const then = joined(first, [makeTrack([NOW + 15], [3]), makeTrack([], [], "new")], NOW + 15);
  assert.deepEqual([...then.keys()], ["matillion/etl", "matillion/new"]);
  assert.deepEqual(then.get("matillion/etl"), {
    time_seconds: [NOW + 15], tasks_active: [3], capacity_tasks: [20], tasks_queued: [null], demand_tasks: [3], tasks_lost: [0],
  });
  const last = joined(then, [makeTrack([NOW + 30], [null])], NOW + 30);
  assert.deepEqual(last.get("matillion/etl")?.tasks_active, [3, null]);
});

test("later points are asked for from the last one of all", () => {
  assert.equal(lastTime([makeTrack([NOW, NOW + 15], [1, 2]), makeTrack([NOW + 30], [1]), makeTrack([], [])], 0), NOW + 30);
  assert.equal(lastTime([], NOW), NOW);
});

test("there is no chart of less than two points within the range", () => {
  assert.equal(chart(undefined, NOW, 900), null);
  assert.equal(chart(makeTrack([], []), NOW, 900), null);
  assert.equal(chart(makeTrack([NOW - 1000, NOW], [1, 2]), NOW, 900), null);
  assert.equal(chart(makeTrack([NOW - 1000], [1]), NOW, 900), null);
});

test("a chart's lines span its width, and its highest value its height", () => {
  const drawn = chart(makeTrack([NOW - 1000, NOW - 60, NOW - 30, NOW], [99, 0, 20, 10]), NOW, 900);
  assert.ok(drawn);
  const paths = Object.fromEntries(drawn.lines.map(({kind, path}) => [kind, path]));
  assert.deepEqual(Object.keys(paths), ["capacity", "running", "queued", "demand"]);
  assert.equal(paths.running, "M0.0 104.0L300.0 8.0L600.0 56.0");
  assert.equal(paths.queued, "");
  const areas = drawn.lines.map(({area}) => area);
  assert.deepEqual(areas, [null, "M0.0 104.0L300.0 8.0L600.0 56.0L600 104L0 104Z", null, null]);
  assert.equal(drawn.label, "tasks over the last 15 min");
  assert.equal(drawn.axis, "M0 104H600");
});

test("the legend tells the range, or the point that is nearest to the pointer", () => {
  const drawn = chart(makeTrack([NOW - 60, NOW - 30, NOW], [0, null, 10]), NOW, 3600);
  assert.ok(drawn);
  assert.deepEqual(drawn.legend(null), {
    head: `${clock(NOW - 60)} – ${clock(NOW)}, up to 20 tasks`,
    entries: ["capacity", "running", "queued", "demand"].map((kind) => [kind, kind]),
  });
  assert.deepEqual([-1, 0.2, 0.3, 0.9, 2].map(drawn.nearest), [0, 0, 1, 2, 2]);
  assert.equal(drawn.legend(1).head, clock(NOW - 30, true));
  assert.deepEqual(drawn.legend(1).entries.map(([, text]) => text), ["capacity 20", "running ?", "queued ?", "demand ?"]);
  assert.equal(drawn.cursor(1), "M300 0V104");
});

test("nothing is drawn over what was not known, nor over a time in which nobody looked", () => {
  assert.deepEqual(unbroken([0, 15, 30, 45], [1, 2, null, 4]), [[[0, 1], [15, 2]], [[45, 4]]]);
  assert.deepEqual(unbroken([0, 15, 76, 91], [1, 2, 3, 4]), [[[0, 1], [15, 2]], [[76, 3], [91, 4]]]);
  assert.deepEqual(unbroken([0, 60], [1, 2]), [[[0, 1], [60, 2]]]);
  assert.deepEqual(unbroken([0, 15], [null, null]), []);
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

test("a chart in which nothing is above zero has no highest value", () => {
  const drawn = chart({...makeTrack([NOW - 15, NOW], [0, 0]), capacity_tasks: [0, 0]}, NOW, 900);
  assert.equal(drawn?.legend(null).head, `${clock(NOW - 15)} – ${clock(NOW)}`);
  assert.equal(drawn.lines[1].path, "M0.0 104.0L600.0 104.0");
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

test("lost tasks are what the count grew by, also after a restart of the exporter", () => {
  const times = [0, 1, 2, 3, 4, 5].map((at) => NOW - 75 + 15 * at);
  const track = {...makeTrack(times, times.map(() => 1)), tasks_lost: [7, 7, 9, null, 2, 3]};
  const lost = losses(track, NOW, 3600);
  assert.deepEqual(lost, [[times[2], 2], [times[4], 2], [times[5], 1]]);
  assert.equal(lostLine(lost, 3600), "5 running tasks lost within the last 1 h");
  assert.equal(lostLine(lost.slice(2), 900), "1 running task lost within the last 15 min");
  assert.deepEqual(losses(track, NOW, 20), [[times[4], 2], [times[5], 1]]);
  assert.deepEqual([losses(undefined, NOW, 3600), lostLine([], 3600)], [[], ""]);
  assert.equal(chart(track, NOW, 3600)?.lost.match(/M/g)?.length, 3);
  assert.equal(chart(makeTrack(times, times.map(() => 1)), NOW, 3600)?.lost, "");
});

test("a history of an older exporter has no lost tasks", () => {
  const {tasks_lost: _, ...older} = makeTrack([NOW], [1]);
  const track = /** @type {Track} */ (older);
  assert.deepEqual(joined(new Map(), [track], NOW).get("matillion/etl")?.tasks_lost, [null]);
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
