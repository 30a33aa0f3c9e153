/**
 * A body of known size, read to its end and not a byte further.
 *
 * @module
 */

import { ProtocolError } from "./protocol_error.ts";

/** @throws {ProtocolError} when it has another size, or breaks off. */
export async function readBody(
  { body }: Pick<Request | Response, "body">,
  { sizeMax, signal }: { readonly sizeMax: number; readonly signal: AbortSignal },
): Promise<Uint8Array> {
  const reader = (body ?? new ReadableStream({ start: (it) => it.close() })).getReader();
  const { promise: stopped, reject } = Promise.withResolvers<never>();
  const stop = () => reject(new ProtocolError("a body took too long"));
  signal.addEventListener("abort", stop);
  if (signal.aborted) stop();
  try {
    const body = collect(reader, sizeMax);
    return await Promise.race([body, stopped]);
  } catch (error) {
    void reader.cancel().catch(() => {}); // it broke already: nothing to stop
    if (error instanceof ProtocolError) throw error;
    throw new ProtocolError("a body broke off");
  } finally {
    signal.removeEventListener("abort", stop);
  }
}

async function collect(
  reader: ReadableStreamDefaultReader<Uint8Array>,
  sizeMax: number,
): Promise<Uint8Array> {
  let bytes = new Uint8Array(Math.min(sizeMax, 4096));
  let size = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return bytes.subarray(0, size);
    if (size + value.length > sizeMax) throw new ProtocolError("a body is larger than it may be");
    if (size + value.length > bytes.length) {
      const grown = new Uint8Array(Math.min(sizeMax, 2 * (size + value.length)));
      grown.set(bytes.subarray(0, size));
      bytes = grown;
    }
    bytes.set(value, size);
    size += value.length;
  }
}
