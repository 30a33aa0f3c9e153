/**
 * How the text of a flag or a variable becomes a value: the kinds of values there are.
 *
 * @module
 */

import * as z from "zod";

export const MiB = 1024 * 1024;
export const DAY_MS = 86_400_000;

export const text = z.string().min(1);
export const optionalPath = z.string();
export const toggle = z.stringbool({ error: "expected true or false" });
export const port = integer({ min: 0, max: 65_535 });

export function integer({ min, max }: { min: number; max: number }) {
  const expected = `expected a whole number from ${min} to ${max}`;
  return z
    .string()
    .regex(/^\d{1,15}$/, expected)
    .transform(Number)
    .refine((value) => value >= min && value <= max, expected);
}

/** `134217728`, or with a unit: `128MiB`. */
export function bytes({ min, max }: { min: number; max: number }) {
  const units = { "": 1, KiB: 1024, MiB, GiB: 1024 * MiB };
  return z
    .string()
    .regex(/^\d{1,12}(KiB|MiB|GiB)?$/, "expected bytes, or a number with KiB, MiB or GiB")
    .transform((value) => {
      const [, count, unit = ""] = /^(\d+)(.*)$/.exec(value) ?? [];
      return Number(count) * units[unit as keyof typeof units];
    })
    .refine((value) => value >= min && value <= max, `expected ${min} to ${max} bytes`);
}

export const SECOND_MS = 1000;

/** `90s`, `15m`, `24h` or `7d`; gives milliseconds. */
export function duration({ minMs, maxMs }: { minMs: number; maxMs: number }) {
  const units = { s: SECOND_MS, m: 60 * SECOND_MS, h: 3600 * SECOND_MS, d: DAY_MS };
  return z
    .string()
    .regex(/^\d{1,9}[smhd]$/, "expected a number with s, m, h or d")
    .transform((value) => Number(value.slice(0, -1)) * units[value.at(-1) as keyof typeof units])
    .refine((value) => value >= minMs && value <= maxMs, {
      error: `expected ${minMs / SECOND_MS}s to ${maxMs / DAY_MS}d`,
    });
}

export function list(item: z.ZodType<string, string>) {
  return z
    .string()
    .transform((value) =>
      value
        .split(",")
        .map((one) => one.trim())
        .filter(Boolean),
    )
    .pipe(z.array(item));
}

export const optionalPort = z.union([z.literal(""), port]);
export const optionalName = z
  .string()
  .regex(/^[\w.-]{0,64}$/, "expected at most 64 letters, digits, `.`, `_` or `-`");
export const optionalAddress = z
  .string()
  .regex(/^$|^(\[[^\]]+\]|[^:[\]]+):\d{1,5}$/, "expected host:port");
export const dnsName = z.string().regex(/^[\w-]+(\.[\w-]+)*$/, "expected DNS names");
export const sharedSecret = z
  .string()
  .refine((value) => value === "" || value.length >= 16, "expected 16 characters at least");
export const etcdUrl = z
  .string()
  .refine(
    (value) => /^https?:\/\//.test(value) && URL.canParse(value),
    "expected http(s)://host:port",
  );

export const apiKey = z.string().regex(/^[\x21-\x7e]+$/, "a key is visible ASCII without spaces");
export const origin = z
  .string()
  .refine(
    (value) => value === "*" || (URL.canParse(value) && new URL(value).origin === value),
    "expected origins such as https://app.example, or *",
  );
