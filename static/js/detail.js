// The page of one upload, kept true while it is open.

import { fetchPage, follow, swap } from "./live.js";
import { localise } from "./times.js";

const RECEIPT_LOOKS = 5;
const RECEIPT_PAUSE = 3000;

localise();

const upload = /** @type {HTMLElement} */ (document.getElementById("upload"));
const spoken = /** @type {HTMLElement} */ (document.getElementById("spoken"));

function state() {
  return document.getElementById("truth")?.dataset.state ?? "";
}

async function refresh() {
  const fresh = await fetchPage(location.href);
  if (!fresh) return;
  const before = state();
  localise(fresh);
  swap(fresh);
  if (state() === before) return;
  document.title = fresh.title;
  spoken.textContent = document.querySelector("#truth .sentence")?.textContent ?? "";
  awaitReceipt(RECEIPT_LOOKS);
}

/**
 * The receipt is rendered a moment after the upload has come so far; that changes no state, so nobody tells.
 * @param {number} looks left
 */
function awaitReceipt(looks) {
  if (looks === 0 || document.getElementById("receipt")) return;
  setTimeout(async () => {
    await refresh();
    awaitReceipt(looks - 1);
  }, RECEIPT_PAUSE);
}

if (upload.dataset.final === "no") follow(String(upload.dataset.id), refresh);
else awaitReceipt(RECEIPT_LOOKS);
