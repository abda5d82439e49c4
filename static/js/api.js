// The API of this site, asked with the session cookie.

const ROOT = "/api/v1";
const LONGEST_ANSWER = 150_000; // milliseconds; a dead line would else be waited on for ever

/** An answer that is not a success: a problem document (RFC 9457), or none at all where the network failed. */
export class Problem extends Error {
  /**
   * @param {number} status 0 where no answer came
   * @param {Record<string, any>} [body]
   * @param {number | null} [retryAfter] seconds
   */
  constructor(status, body = {}, retryAfter = null) {
    super(body.detail || (status ? `The server answered ${status}.` : "The server cannot be reached."));
    this.status = status;
    this.code = String(body.code ?? "");
    this.body = body;
    this.retryAfter = retryAfter;
  }

  /** Whether the same request may succeed later without anybody doing anything. */
  get passing() {
    return [0, 408, 425, 429, 499, 500, 502, 503, 504].includes(this.status);
  }
}

/** Read anew each time: it changes when somebody logs in again in another tab. */
function csrfToken() {
  return /(?:^|; )csrftoken=([^;]*)/.exec(document.cookie)?.[1] ?? "";
}

/**
 * @param {string} text
 * @returns {Record<string, any>}
 */
function parse(text) {
  try {
    return JSON.parse(text) ?? {};
  } catch {
    return {};
  }
}

/** @param {string | null} value of Retry-After */
function seconds(value) {
  return value && /^\d+$/.test(value) ? Number(value) : null;
}

/**
 * @param {string} method
 * @param {string} path
 * @param {{ body?: string, headers?: Record<string, string>, signal?: AbortSignal }} [options]
 * @returns {Promise<{ status: number, body: Record<string, any> }>}
 */
export async function call(method, path, { body, headers = {}, signal } = {}) {
  let response;
  let text;
  const limit = AbortSignal.timeout(LONGEST_ANSWER);
  try {
    response = await fetch(ROOT + path, {
      method,
      body,
      signal: signal ? AbortSignal.any([signal, limit]) : limit,
      headers: { "X-CSRFToken": csrfToken(), ...(body && { "Content-Type": "application/json" }), ...headers },
    });
    text = await response.text();
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Problem(0);
  }
  const found = parse(text);
  if (!response.ok) throw new Problem(response.status, found, seconds(response.headers.get("Retry-After")));
  return { status: response.status, body: found };
}

const SILENCE = 45_000;

/**
 * Sends the octets of one chunk. XMLHttpRequest, as fetch tells nothing while it sends.
 * @param {string} path
 * @param {ArrayBuffer} octets
 * @param {{ digest: string, signal: AbortSignal, tell: (sent: number) => void }} options digest: SHA-256 in base64
 * @returns {Promise<void>}
 */
export function put(path, octets, { digest, signal, tell }) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    let patience = 0;
    const waitOn = () => {
      clearTimeout(patience);
      patience = setTimeout(() => request.abort(), SILENCE);
    };
    const stop = () => request.abort();
    const done = () => {
      clearTimeout(patience);
      signal.removeEventListener("abort", stop);
    };
    request.open("PUT", ROOT + path);
    request.setRequestHeader("Content-Type", "application/octet-stream");
    request.setRequestHeader("Content-Digest", `sha-256=:${digest}:`);
    request.setRequestHeader("X-CSRFToken", csrfToken());
    request.upload.onprogress = (event) => {
      waitOn();
      tell(event.loaded);
    };
    request.onload = () => {
      done();
      if (request.status >= 200 && request.status < 300) resolve();
      else
        reject(
          new Problem(request.status, parse(request.responseText), seconds(request.getResponseHeader("Retry-After"))),
        );
    };
    request.onerror = request.onabort = () => {
      done();
      reject(signal.aborted ? signal.reason : new Problem(0));
    };
    signal.addEventListener("abort", stop);
    waitOn();
    request.send(octets);
  });
}
