// Keeps parts of a page true: the server words them, this fetches them anew when something has changed.

const POLL = 5000;
const SETTLE = 250;

/**
 * A page of this site as a document, or null where it cannot be had just now.
 * @param {string} url
 */
export async function fetchPage(url) {
  try {
    const response = await fetch(url, { headers: { "X-Requested-With": "fetch" } });
    if (!response.ok || response.redirected) return null;
    return new DOMParser().parseFromString(await response.text(), "text/html");
  } catch {
    return null;
  }
}

/**
 * Replaces the parts marked data-live by those of the fresh page, but none in which a person is writing.
 * @param {Document} fresh
 */
export function swap(fresh) {
  for (const old of document.querySelectorAll("[data-live]")) {
    const found = fresh.getElementById(old.id);
    const next = found ? document.adoptNode(found) : null;
    if (!next || old.isEqualNode(next) || inUse(old)) continue;
    for (const open of old.querySelectorAll("details[open][id]")) {
      next.querySelector(`#${CSS.escape(open.id)}`)?.setAttribute("open", "");
    }
    const focused = old.contains(document.activeElement) ? document.activeElement?.id : "";
    old.replaceWith(next);
    if (focused) document.getElementById(focused)?.focus();
  }
}

/** @param {Element} part */
function inUse(part) {
  const active = document.activeElement;
  if (part.contains(active) && active?.matches("input, textarea, select")) return true;
  return [...part.querySelectorAll("textarea, input:not([type=hidden])")].some((field) => {
    const { type, checked, defaultChecked, value, defaultValue } = /** @type {HTMLInputElement} */ (field);
    return type === "checkbox" || type === "radio" ? checked !== defaultChecked : value !== defaultValue;
  });
}

const FINAL = ["verified", "rejected", "cancelled", "expired"];

// A browser keeps six connections to a site, over all its tabs; event streams must not take those that chunks need.
let streams = 0;
const STREAMS_AT_MOST = 1;

/**
 * Calls `changed` whenever the upload has changed, until it has come to an end: by its event stream, else by asking.
 * @param {string} id
 * @param {() => Promise<unknown>} changed
 */
export function follow(id, changed) {
  let settle = 0;
  const soon = () => {
    clearTimeout(settle);
    settle = setTimeout(changed, SETTLE);
  };
  if (streams >= STREAMS_AT_MOST || !("EventSource" in globalThis)) {
    poll(id, soon);
    return;
  }
  streams++;
  listen(id, soon, () => streams--);
}

/**
 * A page that nobody looks at holds no stream; the first event of the next one says what happened meanwhile.
 * @param {string} id
 * @param {() => void} changed
 * @param {() => void} ended
 */
function listen(id, changed, ended) {
  /** @type {EventSource | null} */
  let source = null;
  function open() {
    source = new EventSource(`/api/v1/uploads/${id}/events`);
    source.onmessage = ({ data }) => {
      changed();
      if (FINAL.includes(stateIn(data))) end();
    };
    source.onerror = () => {
      // the browser comes back by itself from a lost connection; after a refusal it does not
      if (source?.readyState !== EventSource.CLOSED) return;
      end();
      poll(id, changed);
    };
  }
  function heed() {
    source?.close();
    source = null;
    if (!document.hidden) open();
  }
  function end() {
    source?.close();
    document.removeEventListener("visibilitychange", heed);
    ended();
  }
  document.addEventListener("visibilitychange", heed);
  heed();
}

/** @param {string} data */
function stateIn(data) {
  try {
    return JSON.parse(data).state;
  } catch {
    return "";
  }
}

/**
 * @param {string} id
 * @param {() => void} changed
 */
async function poll(id, changed) {
  for (let last = ""; ; await new Promise((resolve) => setTimeout(resolve, POLL))) {
    if (document.hidden) continue;
    try {
      const response = await fetch(`/api/v1/uploads/${id}`);
      if ([401, 403, 404].includes(response.status)) return;
      const text = response.ok ? await response.text() : last;
      if (text !== last) changed();
      last = text;
      if (FINAL.includes(stateIn(text))) return;
    } catch {
      // asked again after the pause
    }
  }
}
