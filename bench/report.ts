/**
 * Figures as a Markdown table, one row per scenario and runtime.
 *
 * @module
 */

import type { Measured } from "./scenario.ts";
import { median } from "./statistics.ts";
import type { BenchRuntime } from "./subjects.ts";

export interface Figure extends Measured {
  /** CPU time the server took for one message or event, over all its threads. */
  readonly cpuMicros: number;
}

export interface Row {
  readonly title: string;
  readonly unit: string;
  readonly runtime: BenchRuntime;
  readonly adapter: string;
  readonly tidegate: readonly Figure[];
  readonly empty: readonly Figure[];
}

const HEAD = [
  "what",
  "on",
  "Tidegate",
  "empty handler",
  "ratio",
  "server CPU µs each (empty)",
  "p50 / p99 ms (empty)",
];

export function renderRows(rows: readonly Row[]): string {
  return renderTable(HEAD, rows.map(cellsOf));
}

function cellsOf(row: Row): string[] {
  // Pair by pair: what disturbed one round disturbed its neighbour as well.
  const ratios = row.tidegate.map((one, index) => {
    return one.perSecond / (row.empty[index]?.perSecond ?? Number.NaN);
  });
  return [
    row.title,
    `${row.runtime} (${row.adapter})`,
    `${spread(row.tidegate)} ${row.unit}`,
    spread(row.empty),
    median(ratios).toFixed(2),
    `${cpu(row.tidegate)} (${cpu(row.empty)})`,
    latencies(row),
  ];
}

function spread(measured: readonly Measured[]): string {
  const rates = measured.map((one) => one.perSecond);
  const [least, most] = [Math.min(...rates), Math.max(...rates)].map(thousands);
  return `**${thousands(median(rates))}** (${least}–${most})`;
}

function cpu(figures: readonly Figure[]): string {
  return median(figures.map((one) => one.cpuMicros)).toPrecision(3);
}

function latencies({ tidegate, empty }: Row): string {
  const of = (measured: readonly Measured[], pick: (one: Measured) => number | undefined) =>
    median(measured.flatMap((one) => pick(one) ?? [])).toFixed(1);
  const both = (measured: readonly Measured[]) =>
    `${of(measured, (one) => one.p50Ms)} / ${of(measured, (one) => one.p99Ms)}`;
  if (tidegate.every((one) => one.p50Ms === undefined)) return "–";
  return `${both(tidegate)} (${both(empty)})`;
}

function thousands(value: number): string {
  return Math.round(value).toLocaleString("en-US");
}

export function renderTable(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = head.map((cell, column) =>
    Math.max(cell.length, ...rows.map((row) => row[column]?.length ?? 0)),
  );
  const line = (cells: readonly string[]) =>
    `| ${cells.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join(" | ")} |`;
  const rule = `|${widths.map((width) => "-".repeat(width + 2)).join("|")}|`;
  return [line(head), rule, ...rows.map(line)].join("\n");
}
