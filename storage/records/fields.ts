/**
 * Fields that records are made of, each with how it is written and read.
 *
 * A record kind is a struct of these, so its layout is its definition: fields
 * follow each other without padding, integers are big-endian.
 *
 *   u8 u16 u32 u64   unsigned integers; u64 is a number below 2^53
 *   i64              as u64, and −1 as all ones
 *   text8, text16    size u8 or u16, UTF-8
 *   bytes8, bytes32  size u8 or u32, bytes
 *   rest             bytes to the end of the payload
 *   optional(f)      u8 0 or 1, then f
 *   list(f)          count u32, then that many f
 *
 * Reading never throws: a {@linkcode Reader} that runs past its end says so in
 * `failed` and gives zeros.
 *
 * @module
 */

import { assert } from "../base/assert.ts";
import { decodeUtf8, encodeUtf8, getI64, getU64, setI64, setU64, viewOf } from "../base/bytes.ts";

export class Writer {
  #bytes = new Uint8Array(256);
  #view = viewOf(this.#bytes);
  #end = 0;

  /** Makes room for `size` bytes and returns where they go. */
  grow(size: number): { view: DataView; at: number } {
    const at = this.#end;
    this.#end += size;
    if (this.#end > this.#bytes.length) {
      const larger = new Uint8Array(Math.max(this.#end, 2 * this.#bytes.length));
      larger.set(this.#bytes.subarray(0, at));
      this.#bytes = larger;
      this.#view = viewOf(larger);
    }
    return { view: this.#view, at };
  }

  put(bytes: Uint8Array): void {
    const { at } = this.grow(bytes.length);
    this.#bytes.set(bytes, at);
  }

  /** What was written; a view that the next write may change. */
  get bytes(): Uint8Array {
    return this.#bytes.subarray(0, this.#end);
  }
}

export class Reader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #at = 0;
  failed = false;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = viewOf(bytes);
  }

  get left(): number {
    return this.#bytes.length - this.#at;
  }

  number(size: number, get: (view: DataView, at: number) => number): number {
    if (this.left < size) return this.#fail();
    const value = get(this.#view, this.#at);
    this.#at += size;
    return value;
  }

  /** A view of the next `size` bytes. */
  take(size: number): Uint8Array {
    if (this.left < size) {
      this.#fail();
      return this.#bytes.subarray(0, 0);
    }
    this.#at += size;
    return this.#bytes.subarray(this.#at - size, this.#at);
  }

  #fail(): number {
    this.failed = true;
    this.#at = this.#bytes.length;
    return 0;
  }
}

export interface Field<T> {
  write(writer: Writer, value: T): void;
  read(reader: Reader): T;
  /** Of a field that takes as many bytes whatever its value. */
  readonly fixed?: FixedField<T> | undefined;
}

/** Long lists of these are written at a fraction of the cost: room is made once. */
interface FixedField<T> {
  readonly size: number;
  put(view: DataView, at: number, value: T): void;
}

function ofSize<T>(
  size: number,
  field: { put: FixedField<T>["put"]; read: Field<T>["read"] },
): Field<T> {
  const { put, read } = field;
  return {
    write(writer, value) {
      const { view, at } = writer.grow(size);
      put(view, at, value);
    },
    read,
    fixed: { size, put },
  };
}

export type Value<F> = F extends Field<infer T> ? T : never;
export type Shape<S extends Record<string, Field<unknown>>> = {
  readonly [K in keyof S]: Value<S[K]>;
};

function unsigned(
  size: number,
  set: (view: DataView, at: number, value: number) => void,
  get: (view: DataView, at: number) => number,
): Field<number> {
  const max = size < 8 ? 2 ** (8 * size) - 1 : Number.MAX_SAFE_INTEGER;
  const fits = `a number fits ${size} bytes`;
  return ofSize(size, {
    put(view, at, value) {
      assert(Number.isInteger(value) && value >= 0 && value <= max, fits);
      set(view, at, value);
    },
    read: (reader) => reader.number(size, get),
  });
}

export const u8 = unsigned(
  1,
  (v, at, n) => v.setUint8(at, n),
  (v, at) => v.getUint8(at),
);
export const u16 = unsigned(
  2,
  (v, at, n) => v.setUint16(at, n),
  (v, at) => v.getUint16(at),
);
export const u32 = unsigned(
  4,
  (v, at, n) => v.setUint32(at, n),
  (v, at) => v.getUint32(at),
);
export const u64 = unsigned(8, setU64, getU64);

export const i64: Field<number> = ofSize(8, {
  put: setI64,
  read: (reader) => reader.number(8, getI64),
});

function sized(size: Field<number>): Field<Uint8Array> {
  return {
    write(writer, value) {
      size.write(writer, value.length);
      writer.put(value);
    },
    read: (reader) => reader.take(size.read(reader)).slice(),
  };
}

function text(size: Field<number>): Field<string> {
  const bytes = sized(size);
  return {
    write: (writer, value) => bytes.write(writer, encodeUtf8(value)),
    read: (reader) => decodeUtf8(reader.take(size.read(reader))),
  };
}

export const bytes8 = sized(u8);
export const bytes32 = sized(u32);
export const text8 = text(u8);
export const text16 = text(u16);

/** Exactly `size` bytes. */
export function fixed(size: number): Field<Uint8Array> {
  return {
    write(writer, value) {
      assert(value.length === size, `a field holds ${size} bytes`);
      writer.put(value);
    },
    read: (reader) => reader.take(size).slice(),
  };
}

export const rest: Field<Uint8Array> = {
  write: (writer, value) => writer.put(value),
  read: (reader) => reader.take(reader.left),
};

export function optional<T>(field: Field<T>): Field<T | undefined> {
  return {
    write(writer, value) {
      u8.write(writer, value === undefined ? 0 : 1);
      if (value !== undefined) field.write(writer, value);
    },
    read: (reader) => (u8.read(reader) === 0 ? undefined : field.read(reader)),
  };
}

export function list<T>(item: Field<T>): Field<readonly T[]> {
  return {
    write(writer, values) {
      u32.write(writer, values.length);
      if (item.fixed) return writeFixed(writer, values, item.fixed);
      for (const value of values) item.write(writer, value);
    },
    read(reader) {
      const values: T[] = [];
      // A damaged count ends with the bytes, not with the memory.
      for (let left = u32.read(reader); left > 0 && !reader.failed; left--) {
        values.push(item.read(reader));
      }
      return values;
    },
  };
}

function writeFixed<T>(writer: Writer, values: readonly T[], item: FixedField<T>): void {
  const { view, at } = writer.grow(item.size * values.length);
  for (let i = 0; i < values.length; i++) item.put(view, at + i * item.size, values[i] as T);
}

export function struct<S extends Record<string, Field<unknown>>>(fields: S): Field<Shape<S>> {
  const entries = Object.entries(fields);
  return {
    write(writer, value) {
      for (const [name, field] of entries) field.write(writer, value[name]);
    },
    read(reader) {
      const value: Record<string, unknown> = {};
      for (const [name, field] of entries) value[name] = field.read(reader);
      return value as Shape<S>;
    },
    fixed: fixedStruct(entries),
  };
}

function fixedStruct(
  entries: readonly [name: string, field: Field<unknown>][],
): FixedField<Record<string, unknown>> | undefined {
  let size = 0;
  const places: [name: string, at: number, field: FixedField<unknown>][] = [];
  for (const [name, { fixed: field }] of entries) {
    if (!field) return undefined;
    places.push([name, size, field]);
    size += field.size;
  }
  return {
    size,
    put(view, at, value) {
      for (const [name, offset, field] of places) field.put(view, at + offset, value[name]);
    },
  };
}

/** One of a closed set of words, stored as its u8 code. */
export function oneOf<const W extends Record<string, number>>(codes: W): Field<keyof W & string> {
  const words = new Map(Object.entries(codes).map(([word, code]) => [code, word]));
  return ofSize(1, {
    put: (view, at, value) => view.setUint8(at, codes[value] as number),
    read(reader) {
      const word = words.get(u8.read(reader));
      if (word === undefined) reader.failed = true;
      return (word ?? Object.keys(codes)[0]) as keyof W & string;
    },
  });
}
