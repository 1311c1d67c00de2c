// Elements from plain data. Text becomes text nodes and nothing else: names come from strangers.

const svgSpace = 'http://www.w3.org/2000/svg';

function fill(node, props, children) {
  for (const [key, value] of Object.entries(props ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith('on')) node.addEventListener(key.slice(2), value);
    else node.setAttribute(key, value === true ? '' : String(value));
  }
  node.append(...children.flat().filter((c) => c !== undefined && c !== null && c !== false).map((c) => (c instanceof Node ? c : String(c))));
  return node;
}

export const el = (tag, props, ...children) => fill(document.createElement(tag), props, children);
export const svg = (tag, props, ...children) => fill(document.createElementNS(svgSpace, tag), props, children);
export const $ = (id) => document.getElementById(id);

// Controls that reorder what is read, and line breaks, must not rearrange the page: they are shown as what they are.
const tricky = /[\p{Cc}\p{Zl}\p{Zp}\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]/gu;
export const visible = (text) => text.replace(tricky, (c) => `\\u{${c.codePointAt(0).toString(16)}}`);

export const name = (text) => el('span', { class: 'name' }, visible(text));

// say changes text only where it differs, so that screen readers are not told again.
export function say(node, text, cls) {
  if (node.textContent !== text) node.textContent = text;
  if (cls !== undefined && node.className !== cls) node.className = cls;
}

// sync makes the children of parent those of items, and keeps an element as long as its key is there: focus, selection
// and scroll positions survive an update. make builds an element, update (optional) refreshes it.
export function sync(parent, items, key, make, update) {
  const old = new Map();
  for (const child of [...parent.children]) {
    if (child.dataset.key === undefined) child.remove();
    else old.set(child.dataset.key, child);
  }
  let at = parent.firstElementChild;
  for (const item of items) {
    const k = String(key(item));
    let node = old.get(k);
    if (node) old.delete(k);
    else {
      node = make(item);
      node.dataset.key = k;
    }
    if (node === at) at = at.nextElementSibling;
    else parent.insertBefore(node, at);
    update?.(node, item);
  }
  for (const node of old.values()) node.remove();
}

// cells writes texts into the cells of a row from the given column on.
export function cells(row, from, texts) {
  texts.forEach((text, i) => say(row.children[from + i], text));
}
