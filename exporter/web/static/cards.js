// Draws a fleet's card and its chart, of what fleets.js and chart.js make of the documents.
import {agentsOf, chartOf, choice, choose, follow, lostOf, seen} from "./state.js";
import {MEANING, facts, forecastLine, load, scalerLines, states, sum, sumInWords} from "./fleets.js";
import {queryOf, runbookOf} from "./address.js";
import {el, svg} from "./patch.js";
import {HEALTH_TONE, counted, fleetName, number} from "./view.js";

/** @typedef {import("./view.js").Fleet} Fleet */
/** @typedef {import("./patch.js").Made} Made */

/** @type {Record<string, number | null>} steps in a chart; null ends the selection */
const KEYS = {ArrowLeft: -1, ArrowRight: 1, ArrowDown: -1, ArrowUp: 1, Home: -60, End: 60, Escape: null};

/** @param {Fleet} fleet */
export const healthBadge = ({health}) => el("span", {class: `health ${HEALTH_TONE[health]}`}, health);

/**
 * A link to a choice of agents that needs no new page; opened in another window it leads there too.
 *
 * @param {Partial<import("./address.js").Choice>} wanted
 * @param {string} place
 * @param {(Made | string | null)[]} children
 */
export const choiceLink = (wanted, place, ...children) => el("a", {
  href: `${queryOf({range: choice.range, ...wanted})}#${place}`, onclick: follow(wanted, place),
}, ...children);

/** @param {Fleet} fleet @param {() => void} redraw */
export function fleetCard(fleet, redraw) {
  const name = fleetName(fleet), agents = agentsOf(name);
  const scalers = scalerLines(fleet), forecast = forecastLine(fleet, seen.time), parts = sum(fleet);
  return el("article", {key: name, class: `fleet ${HEALTH_TONE[fleet.health]}`, "data-fleet": name, "aria-label": `Fleet ${name}`},
    el("header", {},
      el("h3", {}, name),
      el("span", {class: "signs"},
        el("span", {class: fleet.trusted ? "trust faint" : "trust doubtful", title: fleet.untrusted_reason}, fleet.trusted ? "trusted" : "not trusted"),
        healthBadge(fleet))),
    fleet.problems.length > 0 && el("ul", {class: "problems"}, fleet.problems.map((problem) => el("li", {}, sentence(problem)))),
    !fleet.trusted && el("p", {class: "remarks"}, "Its demand is withheld from every scaler."),
    fleet.remarks.length > 0 && el("ul", {class: "remarks"}, fleet.remarks.map((remark) => el("li", {}, sentence(remark)))),
    el("ul", {class: "states"}, states(fleet, agents).map(([state, count]) => el("li", {key: state},
      choiceLink({fleet: name, show: state}, "agents", el("i", {class: `dot ${state}`}), `${number(count)} ${state}`)))),
    loadBar(fleet),
    el("p", {class: "sum", "aria-label": `The demand: ${sumInWords(parts)}`, role: "group"}, parts.map(({op, term, value, tone}) =>
      el("span", {class: tone ? `part ${tone}` : "part", title: MEANING[term]}, op !== "" && el("b", {class: "op"}, op),
        el("span", {}, el("span", {class: "term"}, term), el("span", {class: "value"}, value))))),
    scalers && el("ul", {class: "scalers"}, scalers.map(({text, inactive}) => el("li", {}, text, inactive && el("span", {class: "bad"}, ", not active")))),
    forecast && el("p", {class: forecast.doubtful ? "outlook doubtful" : "outlook", title: MEANING.outlook}, forecast.text),
    el("dl", {class: "facts"}, facts(fleet, agents, lostOf(name)).map(({term, value, tone}) =>
      el("div", {title: MEANING[term]}, el("dt", {}, term), el("dd", {class: tone || null}, value)))),
    chartFigure(fleet, redraw),
    el("p", {class: "links"},
      choiceLink({fleet: name, show: "all"}, "agents", `its ${counted(fleet.agents.total, "agent")}`),
      fleet.attention > 0 && choiceLink({fleet: name, show: "attention"}, "agents", `${number(fleet.attention)} need attention`),
      fleet.runbook ? el("a", {href: runbookOf(fleet.runbook, {namespace: fleet.namespace, fleet: fleet.fleet})}, "runbook") : null));
}

/** @param {string} text */
export const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1);

/** @param {Fleet} fleet */
function loadBar(fleet) {
  const bar = load(fleet);
  if (bar === null) return el("div", {class: "load"}, el("div", {class: "bar unknown"}), el("p", {class: "faint"}, "how much runs is not known"));
  return el("div", {class: "load"},
    el("div", {class: "bar"},
      el("span", {class: "running", style: {width: `${bar.running}%`}}),
      el("span", {class: "queued", style: {width: `${bar.queued}%`}}),
      bar.limit !== null && el("span", {class: "limit", style: {left: `calc(${bar.limit}% - 1px)`}})),
    el("p", {class: "faint"}, bar.label));
}

/** @param {Fleet} fleet @param {() => void} redraw */
function chartFigure(fleet, redraw) {
  const name = fleetName(fleet), drawn = chartOf(fleet);
  if (drawn === null) return el("figure", {class: "chart"}, el("div", {class: "picture"}), el("figcaption", {class: "legend"}, "The chart begins once there are two points."));
  const selected = seen.selected?.fleet === name ? drawn.at(seen.selected.time) : null;
  const {ahead} = drawn, {head, entries} = drawn.legend(selected);
  /** @param {number | null} index @param {boolean} stays */
  const select = (index, stays) => {
    seen.selected = index === null ? null : {fleet: name, time: drawn.time(index), stays};
    redraw();
  };
  /** @param {PointerEvent} event */
  const under = (event) => {
    const box = /** @type {Element} */ (event.currentTarget).getBoundingClientRect();
    return drawn.nearest((event.clientX - box.left) / box.width);
  };
  const stays = seen.selected?.fleet === name && seen.selected.stays;
  // Text of the picture would be stretched with it.
  const mark = (/** @type {string} */ kind, /** @type {string} */ text, /** @type {Record<string, string>} */ style) =>
    el("span", {class: `mark ${kind}`, "aria-hidden": "true", style}, text);
  const percent = (/** @type {number} */ share) => `${(100 * share).toFixed(2)}%`;
  return el("figure", {class: "chart"},
    el("div", {class: "picture"},
      svg("svg", {
        viewBox: drawn.box, preserveAspectRatio: "none", role: "slider", tabindex: "0", "aria-label": `${name}: ${drawn.label}`,
        "aria-valuemin": "0", "aria-valuemax": String(drawn.last), "aria-valuenow": String(selected ?? drawn.last),
        "aria-valuetext": [head, ...entries.map(([, text]) => text)].join(", "),
        onpointermove: (/** @type {PointerEvent} */ event) => { if (!stays) select(under(event), false); },
        onpointerleave: () => { if (!stays) select(null, false); },
        onclick: (/** @type {PointerEvent} */ event) => select(under(event), !stays),
        onkeydown: (/** @type {KeyboardEvent} */ event) => {
          const steps = KEYS[event.key];
          if (steps === undefined || event.altKey || event.ctrlKey || event.metaKey) return;
          event.preventDefault();
          select(steps === null ? null : drawn.moved(selected, steps), true);
        },
      },
      ahead && [svg("path", {class: "ground", d: ahead.ground}), svg("path", {class: "band", d: ahead.band})],
      svg("path", {class: "axis", d: drawn.axis}),
      drawn.lost !== "" && svg("path", {class: "lost", d: drawn.lost}),
      drawn.stored !== "" && svg("path", {class: "stored", d: drawn.stored}),
      drawn.lines.map(({kind, path, area}) => [area !== null && svg("path", {class: "area", d: area}), svg("path", {class: kind, d: path})]).flat(),
      ahead && [svg("path", {class: "expected", d: ahead.edge}), svg("path", {class: "now", d: ahead.now})],
      svg("path", {class: stays ? "cursor stays" : "cursor", d: selected === null ? "" : drawn.cursor(selected)})),
      drawn.tasks.map(({text, share}) => mark("tasks", text, {top: percent(share)})),
      drawn.times.map(({text, share}) => mark("time", text, {left: percent(share)})),
      ahead && [mark("label", "expected", {left: percent(ahead.share)}), mark("here", "now", {left: percent(ahead.share)})]),
    el("figcaption", {class: "legend"}, el("span", {class: "when"}, head), entries.map(([kind, text]) =>
      el("span", {class: kind, title: kind === "forecast" || kind === "expected" || kind === "stored" ? MEANING[kind] : null}, el("i", {}), text))));
}

// A click anywhere else lets go of what was selected in a chart.
document.addEventListener("click", (event) => {
  if (seen.selected?.stays && !(/** @type {Element} */ (event.target).closest(".chart"))) {
    seen.selected = null;
    choose({});
  }
});
