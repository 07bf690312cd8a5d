// Brings elements to what they should be, in place: what has not changed is not touched, so that the keyboard's focus, the
// scrolling and what is marked stay where they are. Knows nothing of fleets. Every text becomes a text node, never markup.

/**
 * What an element should be. `key` tells it from its siblings where they may change places; a function is a handler, `style`
 * has CSS properties (a style attribute is what the page's policy forbids, a property is not), null and false are left out.
 *
 * @typedef {string | boolean | null | Record<string, string> | ((event: any) => void)} Attribute
 * @typedef {{tag: string, svg: boolean, key: string | null, attributes: Record<string, Attribute>, children: (Made | string)[]}} Made
 * @typedef {Made | string | null | false} Child
 */

/** @type {WeakMap<Element, Made>} what each element was made from last */
const known = new WeakMap();
const SVG = "http://www.w3.org/2000/svg";

/** @param {boolean} svg @returns {(tag: string, attributes?: Record<string, Attribute>, ...children: (Child | Child[])[]) => Made} */
const maker = (svg) => (tag, {key = null, ...attributes} = {}, ...children) => ({
  tag, svg, key: typeof key === "string" ? key : null, attributes,
  children: children.flat().flatMap((child) => (child === null || child === false || child === "" ? [] : [child])),
});
export const el = maker(false);
export const svg = maker(true);

/** @param {Element} parent @param {(Child | Child[])[]} children */
export function fill(parent, ...children) {
  const wanted = el("", {}, ...children).children;
  const keys = new Set(wanted.map((one) => (typeof one === "string" ? null : one.key)));
  /** @type {Map<string, Element>} */
  const keyed = new Map();
  for (const child of [...parent.children]) {
    const key = known.get(child)?.key;
    if (key && keys.has(key)) keyed.set(key, child);
    else if (key) child.remove();
  }
  let at = parent.firstChild;
  for (const one of wanted) {
    if (typeof one === "string") {
      if (at instanceof Text) {
        if (at.data !== one) at.data = one;
        at = at.nextSibling;
      } else parent.insertBefore(document.createTextNode(one), at);
      continue;
    }
    const before = one.key ? keyed.get(one.key) : at instanceof Element && !known.get(at)?.key ? at : undefined;
    const element = before && known.get(before)?.tag === one.tag ? before : made(one);
    if (element === at) at = at.nextSibling;
    else parent.insertBefore(element, at);
    bring(element, one);
  }
  while (at) {
    const next = at.nextSibling;
    at.remove();
    at = next;
  }
}

/** @param {Made} one */
function made(one) {
  const element = one.svg ? document.createElementNS(SVG, one.tag) : document.createElement(one.tag);
  known.set(element, {...one, attributes: {}, children: []});
  return element;
}

/** @param {Element} element @param {Made} one */
function bring(element, one) {
  const before = known.get(element)?.attributes ?? {};
  known.set(element, one);
  for (const name of Object.keys(before)) if (!(name in one.attributes)) set(element, name, null);
  for (const [name, value] of Object.entries(one.attributes)) if (before[name] !== value) set(element, name, value);
  fill(element, one.children);
}

/** @param {Element} element @param {string} name @param {Attribute} value */
function set(element, name, value) {
  if (name.startsWith("on")) Object.assign(element, {[name]: value});
  else if (name === "style" && typeof value === "object") {
    for (const [property, text] of Object.entries(value ?? {})) /** @type {HTMLElement} */ (element).style.setProperty(property, text);
  } else if (value === null || value === false) element.removeAttribute(name);
  else element.setAttribute(name, value === true ? "" : String(value));
}
