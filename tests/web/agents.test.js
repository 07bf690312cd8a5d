// The rows of the page's tables: the part of its script that needs no browser.
import assert from "node:assert/strict";
import {test} from "node:test";

import {
  COLUMNS, age, agentTone, choices, chosen, clicked, common, departure, memory, noAgents, noDepartures, ofFleet, rows, slotsOf, sorted, stateWord,
} from "../../exporter/web/static/agents.js";
import {clock} from "../../exporter/web/static/view.js";
import {NOW, makeAgent, makePod} from "./documents.js";

/** @typedef {import("../../exporter/web/static/view.js").Agent} Agent */

/** @param {Agent[]} agents @param {Partial<{show: string, search: string, sort: string}>} choice */
const pods = (agents, choice = {}) => chosen(agents, {show: "all", search: "", sort: "", ...choice}, NOW).map(({pod}) => pod);
const UNSEEN = makeAgent({pod: "new", state: "unreachable", looked_at: false, reason: "not looked at yet"});

test("agents that need attention come first, then by how urgent their state is", () => {
  const agents = [
    makeAgent({pod: "idle"}), makeAgent({pod: "leaving", state: "draining"}),
    makeAgent({pod: "ending", state: "draining", needs_attention: true, drain_cut_short: true}),
    makeAgent({pod: "hot", needs_attention: true}), makeAgent({pod: "away", state: "unreachable", needs_attention: true}),
  ];
  assert.deepEqual(pods(agents, {show: "attention"}), ["ending", "away", "hot"]);
  assert.deepEqual(pods(agents, {show: "a colleague's newer choice"}), ["ending", "away", "hot"]);
  assert.deepEqual(pods(agents), ["ending", "away", "hot", "idle", "leaving"]);
  assert.deepEqual(pods(agents, {show: "draining"}), ["ending", "leaving"]);
  assert.deepEqual(pods(agents, {search: "  ETL   unreach "}), ["away"]);
  assert.deepEqual(pods(agents, {show: "attention", search: "idle"}), []);
});

test("there is a choice for each state that there is, with its number", () => {
  const agents = [
    makeAgent({needs_attention: true, refusing: "CPU at 85%"}), makeAgent({kubernetes: makePod({protected: 1})}), makeAgent({state: "starting"}), UNSEEN,
  ];
  assert.deepEqual(choices(agents, "all").map(([text]) => text),
    ["need attention 1", "all 4", "serving 2", "starting 1", "not looked at yet 1", "refusing 1", "protected 1"]);
  assert.deepEqual(choices([], "stopped"), [["need attention 0", "attention"], ["all 0", "all"], ["stopped 0", "stopped"]]);
  assert.deepEqual(pods(agents, {show: "unreachable"}), []);
  assert.deepEqual(pods(agents, {show: "refusing"}).length, 1);
});

test("a search finds names, node, state, reason and version, each word anywhere", () => {
  const agent = makeAgent({reason: "restarted 4 times", kubernetes: makePod({node: "ip-10-0-1-7"})});
  for (const search of ["matillion/etl", "agent-1", "serving", "RESTARTED", "11.50", "times agent", "10-0-1"]) {
    assert.equal(pods([agent], {search}).length, 1, search);
  }
  assert.equal(pods([makeAgent({version: null})], {search: "null"}).length, 0);
  assert.deepEqual(ofFleet([agent, makeAgent({fleet: "other"})], "matillion/etl"), [agent]);
  assert.deepEqual(ofFleet([agent], ""), [agent]);
});

test("every column sorts, and what is not known is last both ways", () => {
  const agents = [
    makeAgent({pod: "a", tasks_active: 3, tasks_queued: 1, kubernetes: makePod({restarts: 2, created_time_seconds: NOW - 10, node: "n2"})}),
    makeAgent({pod: "b", tasks_active: null, tasks_queued: null, version: null, heap_limit_bytes: null, reason: "a reason"}),
    makeAgent({pod: "c", tasks_active: 9, version: "11.49.0", heap_used_bytes: 2, state: "unreachable", kubernetes: makePod({restarts: 5, node: "n1"})}),
  ];
  const sorts = Object.fromEntries(COLUMNS.flatMap(({id}) => [[id, pods(agents, {sort: id}).join("")], [`-${id}`, pods(agents, {sort: `-${id}`}).join("")]]));
  assert.deepEqual(sorts, {
    "pod": "abc", "-pod": "cba", "state": "cab", "-state": "abc", "tasks": "acb", "-tasks": "cab", "queued": "cab", "-queued": "acb",
    "memory": "acb", "-memory": "cab", "restarts": "acb", "-restarts": "cab", "age": "acb", "-age": "cab", "node": "cab", "-node": "acb",
    "version": "cab", "-version": "acb", "why": "bac", "-why": "acb",
  });
});

test("a click sorts, the next turns it round, the third gives the usual order back", () => {
  assert.deepEqual([clicked("", "tasks"), clicked("-tasks", "tasks"), clicked("tasks", "tasks"), clicked("tasks", "pod"), clicked("pod", "pod"), clicked("-pod", "pod")],
    ["-tasks", "tasks", "", "pod", "-pod", ""]);
  assert.equal(clicked("", "no column"), "no column");
  assert.deepEqual([sorted("-tasks", "tasks"), sorted("tasks", "tasks"), sorted("", "tasks")], ["descending", "ascending", "none"]);
});

test("equal reasons are told once, unless a reader has sorted", () => {
  const lost = [42, 119, 95].map((seconds, at) =>
    makeAgent({pod: `l-${at}`, state: "unreachable", needs_attention: true, reason: `not scraped for ${seconds} s: connection refused on 10.0.0.${at}:9464`}));
  const agents = [...lost, makeAgent({pod: "one", needs_attention: true, reason: "memory at 90% of its limit"}), makeAgent({pod: "well"}), makeAgent({pod: "too"})];
  const closed = rows(agents, true, new Set());
  assert.equal(closed.length, 4);
  const [group] = closed;
  assert.ok(group.kind === "group");
  assert.deepEqual([group.agents.length, group.reason, group.open], [3, "not scraped for 42 – 119 s: connection refused on …:9464", false]);
  const open = rows(agents, true, new Set([group.key]));
  assert.deepEqual(open.map((row) => (row.kind === "group" ? "group" : `${row.agent.pod}${row.inside ? "*" : ""}`)), ["group", "l-0*", "l-1*", "l-2*", "one", "well", "too"]);
  assert.deepEqual(rows(agents, false, new Set()).map(({kind}) => kind), Array(6).fill("agent"));
  assert.deepEqual(rows(lost.slice(1), true, new Set()).map(({kind}) => kind), ["agent", "agent"], "two are read as easily");
});

test("figures that differ are told as a range", () => {
  assert.equal(common(["not scraped for 90 s", "not scraped for 3 min"]), "not scraped for 90 s – 3 min");
  assert.equal(common(["1 task active", "12 tasks active"]), "1 – 12 tasks active");
  assert.equal(common(["restarted 4 times", "restarted 2 times"]), "restarted 2 – 4 times");
  assert.equal(common(["the same for 5 min", "the same for 5 min"]), "the same for 5 min");
});

test("an agent's slots are used, free or exceeded, as far as its tasks are known", () => {
  assert.deepEqual(slotsOf(makeAgent(), 20), {used: 12, over: 0, slots: 20, text: "12/20", old: false});
  assert.deepEqual(slotsOf(makeAgent({tasks_active: 23, fresh: false}), 20), {used: 20, over: 3, slots: 20, text: "23/20", old: true});
  assert.equal(slotsOf(makeAgent({tasks_active: 200}), 20)?.over, 10, "so much as fits");
  assert.equal(slotsOf(makeAgent({tasks_active: null}), 20), null);
});

test("a dead container shows no tasks", () => {
  const dead = makeAgent({fresh: false, kubernetes: makePod({started_time_seconds: null, waiting_reason: "CrashLoopBackOff"})});
  assert.equal(slotsOf(dead, 20), null);
  assert.deepEqual(pods([dead, makeAgent({pod: "b", tasks_active: 1})], {sort: "-tasks"}), ["b", "agent-1"]);
  assert.equal(slotsOf({...dead, kubernetes: makePod()}, 20)?.used, 12);
});

test("an agent that nobody has looked at is not accused", () => {
  assert.deepEqual([stateWord(UNSEEN), agentTone(UNSEEN)], ["not looked at yet", "faint"]);
  assert.equal(agentTone({...UNSEEN, state: "disconnected", needs_attention: true}), "bad");
  const pulled = makeAgent({state: "starting", looked_at: false, needs_attention: true});
  assert.deepEqual([stateWord(pulled), agentTone(pulled)], ["starting", "doubtful"]);
});

test("a drain that was cut short is as bad as a lost agent; any other is usual", () => {
  assert.equal(agentTone(makeAgent({state: "draining", drain_cut_short: true})), "bad");
  assert.equal(agentTone(makeAgent({state: "draining"})), "faint");
});

test("where no agent is shown, it is said why, and only good where there are some", () => {
  const known = [makeAgent()];
  assert.deepEqual(noAgents(known, {show: "attention", search: ""}), {text: "No agent needs attention.", good: true});
  for (const choice of [{show: "attention", search: "x"}, {show: "stopped", search: ""}]) assert.deepEqual(noAgents(known, choice), {text: "No agent matches.", good: false});
  assert.deepEqual(noAgents([], {show: "attention", search: ""}), {text: "No agent was found.", good: false});
  assert.deepEqual(noAgents([UNSEEN], {show: "attention", search: ""}), {text: "No agent was looked at yet.", good: false});
});

test("memory is the container's where it is known, else the heap", () => {
  const container = {memory_working_set_bytes: 3, kubernetes: makePod({memory_limit_bytes: 4})};
  assert.equal(memory(makeAgent(container)), "75 %");
  assert.equal(memory(makeAgent({...container, kubernetes: makePod()})), "33 %");
  assert.equal(memory(makeAgent({memory_working_set_bytes: 3})), "33 %");
  assert.equal(memory(makeAgent({heap_limit_bytes: null})), null);
  assert.deepEqual([age(-5), age(7200)], ["0 s", "2 h"]);
});

test("a departure says what made the agent leave, and how its tasks ended", () => {
  /** @type {import("../../exporter/web/static/view.js").Departure} */
  const drains = {
    namespace: "matillion", fleet: "etl", pod: "a", uid: "u", cause: "scale-in", requested_time_seconds: NOW, tasks_at_request: 7, ended_time_seconds: null,
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
