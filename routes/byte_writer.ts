/**
 * Text and bytes into one growing buffer: how a page is put together without
 * an intermediate string for every body in it.
 *
 * @module
 */

const utf8 = new TextEncoder();
const BASE64 = utf8.encode("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/");
const PADDING = 0x3d;
const SPACE = 0x20;

export class ByteWriter {
  #bytes: Uint8Array<ArrayBuffer>;
  #size = 0;
  /** Text that is not encoded yet: one call for all of it costs less than one for each piece. */
  #text = "";

  constructor(capacity: number) {
    this.#bytes = new Uint8Array(capacity);
  }

  text(text: string): void {
    this.#text += text;
  }

  bytes(bytes: Uint8Array): void {
    this.#encodeText();
    this.#reserve(bytes.length);
    this.#bytes.set(bytes, this.#size);
    this.#size += bytes.length;
  }

  /** The bytes of a JSON text on one line: there a line end can only be white space between tokens. */
  jsonLine(json: Uint8Array): void {
    this.#encodeText();
    const from = this.#size;
    this.bytes(json);
    if (!json.includes(0x0a) && !json.includes(0x0d)) return;
    for (let at = from; at < this.#size; at++) {
      const byte = this.#bytes[at];
      if (byte === 0x0a || byte === 0x0d) this.#bytes[at] = SPACE;
    }
  }

  /** Standard base64 with padding; by hand, as `toBase64` is younger than our oldest Node. */
  base64(bytes: Uint8Array): void {
    this.#encodeText();
    this.#reserve(Math.ceil(bytes.length / 3) * 4);
    const target = this.#bytes;
    let to = this.#size;
    for (let at = 0; at < bytes.length; at += 3) {
      const left = bytes.length - at;
      const bits = ((bytes[at] ?? 0) << 16) | ((bytes[at + 1] ?? 0) << 8) | (bytes[at + 2] ?? 0);
      target[to++] = BASE64[bits >>> 18] as number;
      target[to++] = BASE64[(bits >>> 12) & 63] as number;
      target[to++] = left > 1 ? (BASE64[(bits >>> 6) & 63] as number) : PADDING;
      target[to++] = left > 2 ? (BASE64[bits & 63] as number) : PADDING;
    }
    this.#size = to;
  }

  /** What was written: a view, good until the next write. */
  written(): Uint8Array<ArrayBuffer> {
    this.#encodeText();
    return this.#bytes.subarray(0, this.#size);
  }

  #encodeText(): void {
    const text = this.#text;
    if (text === "") return;
    this.#text = "";
    this.#reserve(text.length * 3); // a UTF-16 unit is at most three bytes
    this.#size += utf8.encodeInto(text, this.#bytes.subarray(this.#size)).written;
  }

  #reserve(more: number): void {
    const needed = this.#size + more;
    if (needed <= this.#bytes.length) return;
    const grown = new Uint8Array(Math.max(needed, this.#bytes.length * 2));
    grown.set(this.#bytes.subarray(0, this.#size));
    this.#bytes = grown;
  }
}
