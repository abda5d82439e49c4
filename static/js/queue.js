// The administrator's queue, kept true while it is on the screen: what is ticked stays ticked, what has gone is gone.

const PAUSE = 4000;

const queue = /** @type {HTMLElement} */ (document.getElementById("queue"));
const freshness = /** @type {HTMLElement} */ (document.getElementById("freshness"));

/** @returns {HTMLInputElement[]} */
function ticks() {
  return [...queue.querySelectorAll("input[type=checkbox]")].map((box) => /** @type {HTMLInputElement} */ (box));
}

/** @param {string} html */
function show(html) {
  const fresh = new DOMParser().parseFromString(`<div>${html}</div>`, "text/html").body.firstElementChild;
  if (!fresh) return;
  const ticked = new Set(
    ticks()
      .filter((box) => box.checked)
      .map((box) => box.value),
  );
  const focused = queue.contains(document.activeElement) ? document.activeElement?.id : "";
  queue.replaceChildren(...fresh.childNodes);
  for (const box of ticks()) box.checked = ticked.has(box.value);
  if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
}

let last = "";

async function refresh() {
  if (document.hidden) return;
  try {
    const response = await fetch(String(queue.dataset.now), { headers: { "X-Requested-With": "fetch" } });
    if (!response.ok || response.redirected) throw new Error(String(response.status));
    const { html, at } = await response.json();
    if (html !== last) show(html);
    last = html;
    freshness.textContent = `As of ${new Date(at).toLocaleTimeString()}; it keeps itself up to date.`;
  } catch {
    freshness.textContent = "The gateway does not answer just now; what you see may be old.";
  }
}

async function keep() {
  await refresh();
  setTimeout(keep, PAUSE);
}

document.addEventListener("visibilitychange", refresh);
keep();
