// The page of one upload, kept true while it is open.

import { fetchPage, follow, swap } from "./live.js";
import { localise } from "./times.js";

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
}

if (upload.dataset.final === "no") follow(String(upload.dataset.id), refresh);
// the receipt is rendered a moment after the upload has come to its end
else if (!document.getElementById("receipt")) setTimeout(refresh, 4000);
