// The list, looked at again every ten seconds while it is on the screen.

import { fetchPage, swap } from "./live.js";

const PAUSE = 10_000;

async function refresh() {
  const fresh = document.hidden ? null : await fetchPage(location.href);
  if (fresh) swap(fresh);
  setTimeout(refresh, PAUSE);
}

setTimeout(refresh, PAUSE);
