// A fleet's chart on the status page: what is drawn of its points, and of what is expected.
import assert from "node:assert/strict";
import {test} from "node:test";

import {chart, delayed, joined, lastTime, losses, slotsWithin, steps, taskMarks, timeMarks, unbroken} from "../../exporter/web/static/chart.js";
import {clock} from "../../exporter/web/static/view.js";

/** @typedef {import("../../exporter/web/static/view.js").Track} Track */

const NOW = 1_767_234_600;

/** @param {number[]} times @param {(number | null)[]} running @param {string} fleet @returns {Track} */
const makeTrack = (times, running, fleet = "etl") => ({
  namespace: "matillion", fleet, time_seconds: times, tasks_active: running, capacity_tasks: times.map(() => 20),
  tasks_queued: times.map(() => null), demand_tasks: running, tasks_lost: times.map(() => 0), forecast_tasks: times.map(() => null),
  ahead: null, stored: null,
});

/** @param {(number | null)[]} tasks in each five minutes, from two minutes before NOW @returns {import("../../exporter/web/static/view.js").Ahead} */
const makeAhead = (tasks) => ({interval_seconds: 300, start_time_seconds: NOW - 120, demand_tasks: tasks});

test("later points are joined to those before, and too old ones are dropped", () => {
  const first = joined(new Map(), [makeTrack([NOW - 21_615, NOW - 21_600], [1, 2]), makeTrack([NOW], [7], "gone")], NOW);
  assert.deepEqual(first.get("matillion/etl")?.time_seconds, [NOW - 21_600]);
  const then = joined(first, [makeTrack([NOW + 15], [3]), makeTrack([], [], "new")], NOW + 15);
  assert.deepEqual([...then.keys()].sort(), ["matillion/etl", "matillion/gone", "matillion/new"], "one that is not named is kept");
  assert.deepEqual(then.get("matillion/etl"), {
    time_seconds: [NOW + 15], tasks_active: [3], capacity_tasks: [20], tasks_queued: [null], demand_tasks: [3], tasks_lost: [0],
    forecast_tasks: [null], ahead: null, stored: null,
  });
  const last = joined(then, [makeTrack([NOW + 30], [null])], NOW + 30);
  assert.deepEqual(last.get("matillion/etl")?.tasks_active, [3, null]);
  assert.deepEqual([...joined(then, [], NOW + 21_610).keys()], ["matillion/etl"], "as long as a chart reaches back");
});

test("what was stored is kept with the points, whenever it comes", () => {
  const stored = {interval_seconds: 300, start_time_seconds: NOW - 900, demand_tasks: [1, 2, 3]};
  const first = joined(new Map(), [{...makeTrack([NOW], [1]), stored}], NOW);
  assert.deepEqual(joined(first, [makeTrack([NOW + 15], [1])], NOW + 15).get("matillion/etl")?.stored, stored);
  const late = joined(new Map(), [makeTrack([NOW], [1])], NOW);
  assert.deepEqual(joined(late, [{...makeTrack([NOW + 15], [1]), stored}], NOW + 15).get("matillion/etl")?.stored, stored);
});

test("later points are asked for from the last one of all", () => {
  assert.equal(lastTime([makeTrack([NOW, NOW + 15], [1, 2]), makeTrack([NOW + 30], [1]), makeTrack([], [])], 0, NOW + 30), NOW + 30);
  assert.equal(lastTime([], NOW, NOW), NOW);
  assert.equal(lastTime([makeTrack([NOW - 3600], [1])], NOW, NOW - 3600), 0, "a clock that was set back: all points are asked for anew");
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
  assert.equal(paths.running, "M0.0 122.0L300.0 6.0L600.0 64.0");
  assert.equal(paths.queued, "");
  const areas = drawn.lines.map(({area}) => area);
  assert.deepEqual(areas, [null, "M0.0 122.0L300.0 6.0L600.0 64.0L600.0 122L0.0 122Z", null, null]);
  assert.equal(drawn.label, "tasks over the last 15 min");
  assert.equal(drawn.axis, "M0 122.0H600M0 64.0H600M0 6.0H600");
  assert.deepEqual(drawn.tasks.map(({text}) => text), ["0", "10", "20"]);
  assert.deepEqual(drawn.tasks.map(({share}) => (140 * share).toFixed(0)), ["122", "64", "6"]);
});

test("the legend tells the range, or the point that is nearest to the pointer", () => {
  const drawn = chart(makeTrack([NOW - 60, NOW - 30, NOW], [0, null, 10]), NOW, 3600);
  assert.ok(drawn);
  assert.deepEqual(drawn.legend(null), {
    head: `${clock(NOW - 60)} – ${clock(NOW)}`,
    entries: ["capacity", "running", "queued", "demand"].map((kind) => [kind, kind]),
  });
  assert.deepEqual([-1, 0.2, 0.3, 0.9, 2].map(drawn.nearest), [0, 0, 1, 2, 2]);
  assert.equal(drawn.legend(1).head, clock(NOW - 30, true));
  assert.deepEqual(drawn.legend(1).entries.map(([, text]) => text), ["capacity 20", "running ?", "queued ?", "demand ?"]);
  assert.equal(drawn.cursor(1), "M300.0 6V122");
});

test("nothing is drawn over what was not known, nor over a time in which nobody looked", () => {
  assert.deepEqual(unbroken([0, 15, 30, 45], [1, 2, null, 4]), [[[0, 1], [15, 2]], [[45, 4]]]);
  assert.deepEqual(unbroken([0, 15, 76, 91], [1, 2, 3, 4]), [[[0, 1], [15, 2]], [[76, 3], [91, 4]]]);
  assert.deepEqual(unbroken([0, 60], [1, 2]), [[[0, 1], [60, 2]]]);
  assert.deepEqual(unbroken([0, 15], [null, null]), []);
});

test("a chart in which nothing is above zero has no highest value", () => {
  const drawn = chart({...makeTrack([NOW - 15, NOW], [0, 0]), capacity_tasks: [0, 0]}, NOW, 900);
  assert.equal(drawn?.legend(null).head, `${clock(NOW - 15)} – ${clock(NOW)}`);
  assert.equal(drawn.lines[1].path, "M0.0 122.0L600.0 122.0");
});

test("lost tasks are what the count grew by, also after a restart of the exporter", () => {
  const times = [0, 1, 2, 3, 4, 5].map((at) => NOW - 75 + 15 * at);
  const track = {...makeTrack(times, times.map(() => 1)), tasks_lost: [7, 7, 9, null, 2, 3]};
  const lost = losses(track, NOW, 3600);
  assert.deepEqual(lost, [[times[2], 2], [times[4], 2], [times[5], 1]]);
  assert.deepEqual(losses(track, NOW, 20), [[times[4], 2], [times[5], 1]]);
  assert.deepEqual(losses(undefined, NOW, 3600), []);
  assert.equal(chart(track, NOW, 3600)?.lost.match(/M/g)?.length, 3);
  assert.equal(chart(makeTrack(times, times.map(() => 1)), NOW, 3600)?.lost, "");
});

test("a history of an older exporter has neither lost tasks nor a forecast", () => {
  const {tasks_lost: _, forecast_tasks: __, ahead: ___, stored: ____, ...older} = makeTrack([NOW], [1]);
  const points = joined(new Map(), [/** @type {Track} */ (older)], NOW).get("matillion/etl");
  assert.deepEqual([points?.tasks_lost, points?.forecast_tasks, points?.ahead, points?.stored], [[null], [null], null, null]);
});

test("what is expected comes with every answer anew, points do not", () => {
  const first = joined(new Map(), [{...makeTrack([NOW], [1]), ahead: makeAhead([5])}], NOW);
  assert.deepEqual(first.get("matillion/etl")?.ahead, makeAhead([5]));
  assert.equal(joined(first, [makeTrack([], [])], NOW).get("matillion/etl")?.ahead, null);
});

test("a forecast stands at the time that it was made for", () => {
  const times = [0, 15, 30, 45, 60, 75];
  assert.deepEqual(delayed(times, [1, 2, null, 4, 5, 6], 30), [null, null, 1, 2, null, 4]);
  assert.deepEqual(delayed(times, [1, 2, 3, 4, 5, 6], 40), [null, null, null, 1, 2, 3], "the last one by then");
  assert.deepEqual(delayed([0, 90, 105], [1, 2, 3], 15), [null, null, 2], "none of a time in which no point was taken");
  assert.deepEqual(delayed([], [], 30), []);
});

test("what is expected begins now and ends with the chart", () => {
  const ahead = makeAhead([1, 2, 3, 4]); // from two minutes before now
  assert.deepEqual(slotsWithin(ahead, NOW, NOW + 600), [[NOW, NOW + 180, 1], [NOW + 180, NOW + 480, 2], [NOW + 480, NOW + 600, 3]]);
  assert.deepEqual(slotsWithin(ahead, NOW + 1080, NOW + 2000), [], "all of it is past");
  assert.deepEqual(slotsWithin(null, NOW, NOW + 600), []);
});

test("to the right of now stands what is expected, in the same scale as the past", () => {
  const drawn = chart({...makeTrack([NOW - 3600, NOW], [0, 20]), ahead: makeAhead(Array(72).fill(40))}, NOW, 3600, 180);
  assert.ok(drawn?.ahead);
  assert.equal(drawn.ahead.share, 0.75);
  assert.equal(drawn.ahead.now, "M450.0 6V122");
  assert.equal(drawn.ahead.ground, "M450.0 6H600V122H450.0Z");
  assert.ok(drawn.ahead.edge.startsWith("M450.0 6.0L472.5 6.0L472.5 6.0"), drawn.ahead.edge);
  assert.equal(drawn.ahead.band, `${drawn.ahead.edge}V122H450.0Z`);
  assert.equal(drawn.lines[1].path, "M0.0 122.0M450.0 64.0", "an hour without a point in between is a hole");
  assert.equal(drawn.label, "tasks over the last 1 h, and expected in the next 20 min");
  assert.deepEqual(drawn.legend(null), {
    head: `${clock(NOW - 3600)} – ${clock(NOW + 1200)}`,
    entries: [...["capacity", "running", "queued", "demand"].map((kind) => [kind, kind]), ["forecast", "forecast (made 3 min before)"], ["expected", "expected"]],
  });
});

test("what is not known of the time to come is left out of the picture", () => {
  const drawn = chart({...makeTrack([NOW - 3600, NOW], [0, 20]), ahead: makeAhead([null, 40, null, null, 20, null])}, NOW, 3600, 180);
  assert.ok(drawn?.ahead);
  assert.match(drawn.label, /in the next 20 min$/);
  assert.equal(drawn.ahead.edge.match(/M/g)?.length, 2);
  assert.equal(drawn.ahead.band.match(/Z/g)?.length, 2);
  assert.ok(drawn.ahead.edge.startsWith("M472.5 6.0L510.0 6.0M"), drawn.ahead.edge);
  assert.deepEqual(drawn.legend(2).entries.at(-1), ["expected", "expected ?"]);
  assert.deepEqual(steps([[1, 2, null], [2, 3, 5], [3, 4, 6], [4, 5, null]]), [[[2, 5], [3, 5], [3, 6], [4, 6]]]);
});

test("a short history leaves a quarter of an hour for what is expected", () => {
  const drawn = chart({...makeTrack([NOW - 60, NOW], [1, 1]), ahead: makeAhead(Array(72).fill(1))}, NOW, 21_600, 180);
  assert.match(drawn?.label ?? "", /in the next 15 min$/);
});

test("where no forecast is configured, or it is withheld, the chart ends now and has no line of it", () => {
  const track = makeTrack([NOW - 15, NOW], [1, 2]);
  const without = chart(track, NOW, 900), withheld = chart(track, NOW, 900, 180);
  for (const drawn of [without, withheld]) {
    assert.equal(drawn?.ahead, null);
    assert.deepEqual(drawn?.lines.map(({kind}) => kind), ["capacity", "running", "queued", "demand"]);
    assert.equal(drawn?.label, "tasks over the last 15 min");
  }
});

test("a forecast that is withheld since a while still has its line of before", () => {
  const times = [NOW - 45, NOW - 30, NOW - 15, NOW];
  const drawn = chart({...makeTrack(times, [1, 1, 9, 9]), forecast_tasks: [10, 20, null, null]}, NOW, 900, 30);
  assert.equal(drawn?.ahead, null);
  assert.equal(drawn?.lines[4].kind, "forecast");
  assert.equal(drawn?.lines[4].path, "M400.0 64.0L600.0 6.0");
  assert.deepEqual(drawn?.legend(0).entries[4], ["forecast", "forecast ? (made 30 s before)"]);
  assert.deepEqual(drawn?.legend(2).entries[4], ["forecast", "forecast 10 (made 30 s before)"]);
});

test("pointer and keyboard reach every point and all that is expected", () => {
  const times = Array.from({length: 61}, (_, at) => NOW - 900 + 15 * at);
  const drawn = chart({...makeTrack(times, times.map(() => 1)), ahead: makeAhead([7, 8])}, NOW, 900, 180);
  assert.ok(drawn);
  const last = 60, slots = [last + 1, last + 2]; // from now for 3 min, then until the end
  assert.equal(drawn.nearest(0), 0);
  assert.deepEqual([0.8, 0.99].map(drawn.nearest), slots);
  assert.deepEqual(slots.map(drawn.time), [NOW + 90, NOW + 240]);
  const plain = ["capacity", "running", "queued", "demand", "forecast (made 3 min before)"];
  const legends = slots.map((index) => drawn.legend(index));
  assert.deepEqual(legends.map(({head}) => head), [`${clock(NOW)} – ${clock(NOW + 180)}`, `${clock(NOW + 180)} – ${clock(NOW + 300)}`]);
  assert.deepEqual(legends.map(({entries}) => entries.map(([, text]) => text)), [[...plain, "expected 7"], [...plain, "expected 8"]]);
  assert.deepEqual(drawn.legend(last).entries.at(-1), ["expected", "expected"]);
  assert.equal(drawn.cursor(last), "M450.0 6V122");
  assert.equal(drawn.moved(null, -1), last, "the keyboard begins at now");
  assert.deepEqual([drawn.moved(last, 1), drawn.moved(last + 1, 1), drawn.moved(last + 2, 1)], [last + 1, last + 2, last + 2]);
  assert.equal(drawn.moved(last, -1), last - 1);
  assert.deepEqual([drawn.moved(last, -60), drawn.moved(0, -1), drawn.moved(0, 60)], [0, 0, last + 2]);
  assert.equal(drawn.at(NOW - 31), last - 2);
});


test("an axis of tasks has round numbers up to the highest value", () => {
  for (const [highest, marks] of /** @type {[number, number[]][]} */ ([
    [0, [0, 1]], [1, [0, 1]], [5, [0, 2, 4, 6]], [20, [0, 10, 20]], [48, [0, 20, 40, 60]], [160, [0, 100, 200]], [4200, [0, 2000, 4000, 6000]],
  ])) assert.deepEqual(taskMarks(highest), marks, String(highest));
});

test("an axis of time has round times of the reader's clock, and few of them", () => {
  const hour = NOW - (NOW % 3600);
  assert.deepEqual(timeMarks(hour, hour + 3600, 0).map((time) => (time - hour) / 60), [0, 15, 30, 45, 60]);
  assert.deepEqual(timeMarks(hour + 60, hour + 1200, 0).map((time) => (time - hour) / 60), [5, 10, 15, 20]);
  assert.deepEqual(timeMarks(hour, hour + 28_800, 19_800).map((time) => (time - hour) / 60), [30, 150, 270, 390], "a clock that is half an hour beside the hours");
  assert.equal(timeMarks(hour, hour + 200_000, 0).length, 19);
  assert.deepEqual(timeMarks(hour + 1, hour + 2, 0), []);
  const drawn = chart(makeTrack([hour, hour + 1800, hour + 3600], [1, 1, 1]), hour + 3600, 3600);
  assert.deepEqual(drawn?.times, [1, 2, 3].map((at) => ({text: clock(hour + 900 * at), share: at / 4})), "none where it would stand beside the chart");
});

test("before the first point stands the demand that was stored, as far as it is known", () => {
  const stored = {interval_seconds: 300, start_time_seconds: NOW - 1500, demand_tasks: [null, 30, null, 10, 20]};
  const drawn = chart({...makeTrack([NOW - 30, NOW], [1, 1]), stored}, NOW, 3600);
  assert.ok(drawn);
  assert.equal(drawn.time(0), NOW - 1050);
  assert.equal(drawn.stored.match(/M/g)?.length, 2);
  assert.deepEqual([0, 1, 4].map((index) => drawn.legend(index).entries.at(-1)?.[1]), ["demand, stored 30", "demand, stored ?", "demand, stored"]);
  assert.equal(drawn.legend(0).head, `${clock(NOW - 1200)} – ${clock(NOW - 900)}`);
  assert.equal(drawn.moved(null, 1), 5, "the keyboard begins at now");
  assert.equal(drawn.last, 5);
  assert.equal(chart({...makeTrack([], []), stored: {...stored, demand_tasks: [null, 30, 20]}}, NOW, 3600)?.last, 1, "it needs no point");
  assert.equal(chart({...makeTrack([NOW], [1]), stored: {...stored, demand_tasks: [null]}}, NOW, 3600), null, "nothing known is no chart");
  const ahead = chart({...makeTrack([NOW - 30, NOW], [1, 1]), stored, ahead: makeAhead([7])}, NOW, 3600, 180);
  assert.deepEqual(ahead?.legend(6).entries.slice(-2), [["stored", "demand, stored"], ["expected", "expected 7"]]);
});
