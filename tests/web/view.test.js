// What stands above and below the fleets: the part of the page's script that needs no browser.
import assert from "node:assert/strict";
import {test} from "node:test";

import {
  asSeen, banner, clock, counted, exporterFacts, exporterTroubles, fleetName, lasting, number, percent, summary, title, troubles, worstFirst,
} from "../../exporter/web/static/view.js";
import {NOW, makeFleet} from "./documents.js";

/** @typedef {import("../../exporter/web/static/view.js").ExporterDocument} ExporterDocument */

/** @param {Partial<ExporterDocument>} given @returns {ExporterDocument} */
const makeExporter = (given = {}) => ({
  version: "1.0.0", cluster: "prod", instance: "exporter-1", leads: true, other_leader: null, not_ready_reason: null, out_of_service_reason: null,
  targets: 24, sync_age_seconds: 1.2, cloudwatch: null, external_metrics: null, ...given,
});
const SPOOL = {spool_datums: 0, spool_oldest_age_seconds: 0, spool_durable: true, estimated_monthly_cost_dollars: 12.3, requests: {accepted: 1440, denied: 0}};

const DOWN = makeFleet({fleet: "night", health: "down", attention: 8, problems: ["none of its 8 agents serves"]}, {total: 8});
const DARK = makeFleet({fleet: "dark", health: "data incomplete", attention: 3}, {total: 3});
const WORSE = makeFleet({fleet: "worse", health: "degraded", attention: 5}, {total: 9});
const BAD = makeFleet({fleet: "bad", health: "degraded", attention: 1}, {total: 9});

test("a number is rounded to a tenth, thousands stand apart, and what is not known is no number", () => {
  assert.deepEqual([0, 12, 12.34, 0.05, 1004, null, undefined].map(number), ["0", "12", "12.3", "0.1", "1,004", "?", "?"]);
  assert.deepEqual([counted(1, "task"), counted(2, "task"), counted(2, "datum", "data")], ["1 task", "2 tasks", "2 data"]);
});

test("a share needs a part and a whole", () => {
  assert.equal(percent(1, 3), "33 %");
  assert.equal(percent(0, 3), "0 %");
  for (const [part, whole] of [[null, 3], [1, null], [1, 0]]) assert.equal(percent(part, whole), null);
});

test("a stretch of time has the unit that suits it", () => {
  assert.deepEqual([0, 45.4, 119, 120, 205.3, 7199, 7200, 21_600, 172_800].map(lasting),
    ["0 s", "45 s", "119 s", "2 min", "3.4 min", "120 min", "2 h", "6 h", "2 d"]);
});

test("an instant is shown in 24 hours, with seconds where it is asked for", () => {
  assert.match(clock(NOW), /^\d\d:\d\d$/);
  assert.match(clock(NOW, true), /^\d\d:\d\d:00$/);
});

test("the worst fleet is first, and of equal ones that with more agents in trouble, then by name", () => {
  const fleets = [makeFleet({fleet: "z"}), makeFleet({fleet: "a"}), BAD, WORSE, DARK, DOWN];
  assert.deepEqual(worstFirst(fleets).map(({fleet}) => fleet), ["night", "dark", "worse", "bad", "a", "z"]);
});

test("one line says how all fleets are", () => {
  const ok = makeFleet();
  assert.deepEqual(summary([]), {text: "No fleet was found.", tone: "faint"});
  assert.deepEqual(summary([ok]), {text: "matillion/etl is ok: 1 agent, none needs attention", tone: "good"});
  assert.deepEqual(summary([DOWN]), {text: "matillion/night is down: 8 of 8 agents need attention", tone: "bad"});
  assert.deepEqual(summary([BAD]), {text: "matillion/bad is degraded: 1 of 9 agents needs attention", tone: "doubtful"});
  assert.equal(summary([DARK]).text, "matillion/dark has incomplete data: 3 of 3 agents need attention");
  assert.deepEqual(summary([ok, ok]), {text: "Both fleets ok: 2 agents, none needs attention", tone: "good"});
  assert.equal(summary([ok, ok, ok]).text, "All 3 fleets ok: 3 agents, none needs attention");
  assert.deepEqual(summary([ok, BAD, WORSE, DARK, DOWN]),
    {text: "1 of 5 fleets down, 1 with incomplete data, 2 degraded, 17 of 30 agents need attention", tone: "bad"});
});

test("what is wrong now is named for each fleet, where one card does not say it", () => {
  assert.deepEqual(troubles([DOWN]), {fleets: [], more: 0});
  assert.deepEqual(troubles([makeFleet(), BAD, DOWN]), {fleets: [DOWN, BAD], more: 0});
  const {fleets, more} = troubles(Array.from({length: 11}, (_, at) => ({...BAD, fleet: `f-${at}`})));
  assert.deepEqual([fleets.length, more], [8, 3]);
});

test("the title counts what is wrong", () => {
  assert.deepEqual([[], [BAD], [DOWN, DOWN]].map(title), [
    "Matillion fleets", "1 agent in trouble · Matillion fleets", "2 fleets down · 16 agents in trouble · Matillion fleets",
  ]);
});

test("nothing is wrong with a fleet only because the exporter has just started", () => {
  const unread = makeFleet({health: "data incomplete", problems: ["its figures are not trusted"], runbook: "MatillionFleetCoverageLow"});
  assert.equal(asSeen(unread, true), unread);
  assert.deepEqual(asSeen(unread, false), {...unread, health: "not looked at yet", problems: [], runbook: null});
  assert.equal(asSeen(DOWN, false), DOWN, "Kubernetes says so");
  assert.deepEqual(summary([asSeen(unread, false)]), {text: "matillion/etl was not looked at yet: 1 agent, none needs attention", tone: "faint"});
});

test("the banner says what is wrong, and how old what is shown is", () => {
  const unready = makeExporter({not_ready_reason: "no list of pods yet"});
  assert.equal(banner(null, null, NOW, false), "");
  assert.equal(banner(null, makeExporter(), NOW, false), "");
  assert.equal(banner(null, unready, null, false), "Not ready yet: no list of pods yet");
  assert.equal(banner(null, unready, NOW, true),
    `The exporter was restarted and is not ready yet: no list of pods yet. What is shown is from ${clock(NOW, true)}.`);
  assert.equal(banner(null, makeExporter({out_of_service_reason: "no agent is reachable from here"}), NOW, false), "Ask another replica: no agent is reachable from here");
  assert.equal(banner("HTTP 500", unready, null, false), "No answer from the exporter: HTTP 500.");
  assert.equal(banner("HTTP 500", null, NOW, false), `No answer from the exporter: HTTP 500. What is shown is from ${clock(NOW, true)}.`);
});

test("what goes wrong with CloudWatch or the external metrics API is said on top", () => {
  const asked = (/** @type {Record<string, number>} */ requests) => exporterTroubles(makeExporter({external_metrics: {requests}}));
  assert.deepEqual([asked({200: 1, 403: 9}), asked({200: 0, 403: 0})], [[], []]);
  assert.deepEqual(asked({200: 0, 403: 9, 503: 1}), ["The external metrics API has refused each of 10 requests: no autoscaler gets a figure from this replica"]);
  assert.deepEqual(exporterTroubles(makeExporter()), []);
  assert.deepEqual(exporterTroubles(makeExporter({cloudwatch: SPOOL})), []);
  assert.deepEqual(exporterTroubles(makeExporter({cloudwatch: {...SPOOL, spool_oldest_age_seconds: null}})), []);
  assert.deepEqual(exporterTroubles(makeExporter({cloudwatch: {...SPOOL, spool_datums: 120, spool_oldest_age_seconds: 600}})),
    ["CloudWatch has accepted nothing for 10 min: 120 data wait in the spool"]);
  assert.deepEqual(exporterTroubles(makeExporter({cloudwatch: {...SPOOL, spool_datums: null, spool_oldest_age_seconds: 600, spool_durable: false}})), [
    "CloudWatch has accepted nothing for 10 min: 0 data wait in the spool",
    "The spool is not durable: what waits for CloudWatch is lost with a restart of the exporter",
  ]);
});

test("the exporter says what it is and what it does", () => {
  /** @param {Partial<ExporterDocument>} given @param {string} term */
  const said = (given, term) => Object.fromEntries(exporterFacts(makeExporter(given)))[term];
  assert.deepEqual(exporterFacts(makeExporter()), [
    ["cluster", "prod"], ["this replica", "exporter-1"], ["version", "1.0.0"], ["leader", "this replica"],
    ["agents known", "24, confirmed 1 s ago"], ["CloudWatch", "off"], ["external metrics", "off"],
  ]);
  assert.deepEqual([said({cluster: null}, "cluster"), said({instance: null}, "this replica"), said({sync_age_seconds: null}, "agents known")],
    ["not named (setting cluster)", "not in Kubernetes", "24"]);
  assert.deepEqual([said({leads: null}, "leader"), said({leads: false}, "leader"), said({leads: false, other_leader: "exporter-2"}, "leader")],
    ["not needed", "another replica, or none", "exporter-2"]);
  assert.equal(said({cloudwatch: SPOOL}, "CloudWatch"), "nothing waits; requests since the start: accepted: 1,440; some $12.3 a month");
  assert.equal(said({cloudwatch: SPOOL, leads: false}, "CloudWatch"), "sent by the leader");
  const waiting = {...SPOOL, spool_datums: 3, spool_oldest_age_seconds: null, estimated_monthly_cost_dollars: null, requests: {accepted: 0}};
  assert.equal(said({cloudwatch: waiting}, "CloudWatch"), "3 waiting, the oldest 0 s; no request yet");
  assert.equal(said({external_metrics: {requests: {200: 5760, 403: 2}}}, "external metrics"), "requests since the start: 200: 5,760, 403: 2");
});

test("a fleet's name has its namespace", () => {
  assert.equal(fleetName(makeFleet()), "matillion/etl");
});
