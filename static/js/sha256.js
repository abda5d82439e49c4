// SHA-256 (FIPS 180-4) over bytes that come in parts: WebCrypto has no such thing, and none at all outside https.

const K = new Int32Array(64);
const INITIAL = new Int32Array(8);

for (let candidate = 2, found = 0; found < 64; candidate++) {
  let prime = true;
  for (let divisor = 2; divisor * divisor <= candidate; divisor++) {
    if (candidate % divisor === 0) prime = false;
  }
  if (!prime) continue;
  // the first 32 bits of the fractional parts of cube and square roots
  K[found] = fraction(Math.cbrt(candidate));
  if (found < 8) INITIAL[found] = fraction(Math.sqrt(candidate));
  found++;
}

/** @param {number} value */
function fraction(value) {
  return Math.floor((value - Math.floor(value)) * 0x100000000) | 0;
}

export class Sha256 {
  constructor() {
    this.state = INITIAL.slice();
    this.schedule = new Int32Array(64);
    this.rest = new Uint8Array(64);
    this.restLength = 0;
    this.length = 0;
  }

  /**
   * Takes the next bytes.
   * @param {Uint8Array} bytes
   * @returns {this}
   */
  update(bytes) {
    this.length += bytes.length;
    let at = 0;
    if (this.restLength > 0) {
      at = Math.min(64 - this.restLength, bytes.length);
      this.rest.set(bytes.subarray(0, at), this.restLength);
      this.restLength += at;
      if (this.restLength < 64) return this;
      this.#compress(this.rest, 0, 64);
      this.restLength = 0;
    }
    const whole = at + ((bytes.length - at) & ~63);
    this.#compress(bytes, at, whole);
    this.rest.set(bytes.subarray(whole));
    this.restLength = bytes.length - whole;
    return this;
  }

  /** The digest of all bytes taken so far; nothing may be added afterwards. */
  digest() {
    const tail = new Uint8Array(this.restLength < 56 ? 64 : 128);
    tail.set(this.rest.subarray(0, this.restLength));
    tail[this.restLength] = 0x80;
    const view = new DataView(tail.buffer);
    view.setUint32(tail.length - 8, Math.floor(this.length / 0x20000000));
    view.setUint32(tail.length - 4, (this.length << 3) >>> 0);
    this.#compress(tail, 0, tail.length);
    const out = new Uint8Array(32);
    const words = new DataView(out.buffer);
    this.state.forEach((word, index) => words.setInt32(index * 4, word));
    return out;
  }

  /**
   * The 64 rounds of section 6.2.2 over each block of [from, to).
   * @param {Uint8Array} bytes
   * @param {number} from
   * @param {number} to
   */
  #compress(bytes, from, to) {
    const w = this.schedule;
    const s = this.state;
    for (let block = from; block < to; block += 64) {
      for (let t = 0, i = block; t < 16; t++, i += 4) {
        w[t] = (bytes[i] << 24) | (bytes[i + 1] << 16) | (bytes[i + 2] << 8) | bytes[i + 3];
      }
      for (let t = 16; t < 64; t++) {
        const x = w[t - 15];
        const y = w[t - 2];
        const s0 = ((x >>> 7) | (x << 25)) ^ ((x >>> 18) | (x << 14)) ^ (x >>> 3);
        const s1 = ((y >>> 17) | (y << 15)) ^ ((y >>> 19) | (y << 13)) ^ (y >>> 10);
        w[t] = (w[t - 16] + s0 + w[t - 7] + s1) | 0;
      }
      let a = s[0];
      let b = s[1];
      let c = s[2];
      let d = s[3];
      let e = s[4];
      let f = s[5];
      let g = s[6];
      let h = s[7];
      for (let t = 0; t < 64; t++) {
        const big1 = ((e >>> 6) | (e << 26)) ^ ((e >>> 11) | (e << 21)) ^ ((e >>> 25) | (e << 7));
        const t1 = (h + big1 + ((e & f) ^ (~e & g)) + K[t] + w[t]) | 0;
        const big0 = ((a >>> 2) | (a << 30)) ^ ((a >>> 13) | (a << 19)) ^ ((a >>> 22) | (a << 10));
        const t2 = (big0 + ((a & b) ^ (a & c) ^ (b & c))) | 0;
        h = g;
        g = f;
        f = e;
        e = (d + t1) | 0;
        d = c;
        c = b;
        b = a;
        a = (t1 + t2) | 0;
      }
      s[0] = (s[0] + a) | 0;
      s[1] = (s[1] + b) | 0;
      s[2] = (s[2] + c) | 0;
      s[3] = (s[3] + d) | 0;
      s[4] = (s[4] + e) | 0;
      s[5] = (s[5] + f) | 0;
      s[6] = (s[6] + g) | 0;
      s[7] = (s[7] + h) | 0;
    }
  }
}

const ONE_READ = 128 * 1024 * 1024;
const STEP = 8 * 1024 * 1024;

/**
 * The digest of bytes in memory: by WebCrypto where the browser offers it, else by the code above.
 * @param {Uint8Array<ArrayBuffer>} bytes
 * @returns {Promise<Uint8Array>}
 */
export async function digestOf(bytes) {
  if (globalThis.crypto?.subtle) return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return new Sha256().update(bytes).digest();
}

/**
 * The digest of a file, in memory that does not grow with it.
 * @param {Blob} file
 * @param {(bytes: number) => void} [tell] called with the bytes read so far
 */
export async function digestOfFile(file, tell = () => {}) {
  if (file.size <= ONE_READ && globalThis.crypto?.subtle) {
    const digest = await digestOf(new Uint8Array(await file.arrayBuffer()));
    tell(file.size);
    return digest;
  }
  const sha = new Sha256();
  for (let at = 0; at < file.size; at += STEP) {
    sha.update(new Uint8Array(await file.slice(at, at + STEP).arrayBuffer()));
    tell(Math.min(at + STEP, file.size));
  }
  return sha.digest();
}

/** @param {Uint8Array} bytes */
export function hex(bytes) {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** @param {Uint8Array} bytes */
export function base64(bytes) {
  return btoa(String.fromCharCode(...bytes));
}
