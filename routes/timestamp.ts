/**
 * RFC 3339 both ways: UTC with milliseconds out, any offset in.
 *
 * @module
 */

interface Formatted {
  readonly ms: number;
  readonly text: string;
}

const NONE: Formatted = { ms: Number.NaN, text: "" };
let last = NONE;
let lastButOne = NONE;

/**
 * "2026-11-22T08:00:00.123Z"; remembers the last two: a burst shares its millisecond, and
 * deliveries alternate between when they were published and until when they are leased.
 */
export function formatTimestamp(ms: number): string {
  if (ms === last.ms) return last.text;
  const found = ms === lastButOne.ms ? lastButOne : { ms, text: new Date(ms).toISOString() };
  lastButOne = last;
  last = found;
  return found.text;
}

const RFC3339 =
  /^\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])[Tt](?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d{1,9})?(?:[Zz]|[+-](?:[01]\d|2[0-3]):[0-5]\d)$/;

/** Milliseconds since the Unix epoch, or undefined when `text` is not RFC 3339 or before 1970. */
export function parseTimestamp(text: string): number | undefined {
  if (!RFC3339.test(text)) return undefined;
  const ms = Date.parse(text.toUpperCase());
  // A parser may roll 31 February over to March: the day must survive the round trip.
  const day = Date.UTC(
    Number(text.slice(0, 4)),
    Number(text.slice(5, 7)) - 1,
    Number(text.slice(8, 10)),
  );
  const sameDay = new Date(day).getUTCDate() === Number(text.slice(8, 10));
  return Number.isNaN(ms) || ms < 0 || !sameDay ? undefined : Math.floor(ms);
}
