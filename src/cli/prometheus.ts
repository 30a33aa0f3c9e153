/**
 * Figures in the text format Prometheus reads (version 0.0.4): a name, what it
 * means, its type, then a line per sample.
 *
 *   # HELP tidegate_topics Topics
 *   # TYPE tidegate_topics gauge
 *   tidegate_topics 3
 *
 * A histogram has a line per bound, which counts everything up to it, and its sum
 * and count. A family without samples is left out.
 *
 * @module
 */

import type { Family, Histogram, Labels, Sample } from "../../storage/base/metrics.ts";

export function prometheusText(family: Family): string {
  const lines =
    family.type === "histogram"
      ? family.series.flatMap((one) => histogramLines(family.name, one))
      : family.samples.map((sample) => line(family.name, sample));
  if (lines.length === 0) return "";
  const { name, help, type } = family;
  return `# HELP ${name} ${escapeHelp(help)}\n# TYPE ${name} ${type}\n${lines.join("\n")}\n`;
}

function histogramLines(
  name: string,
  { labels, histogram }: { readonly labels?: Labels; readonly histogram: Histogram },
): string[] {
  const { bounds, counts, sum } = histogram;
  let count = 0;
  const lines = Array.from(counts, (own, i) => {
    count += own;
    const le = i < bounds.length ? number(bounds[i] as number) : "+Inf";
    return line(`${name}_bucket`, { labels: { ...labels, le }, value: count });
  });
  const own = labels && { labels };
  return [
    ...lines,
    line(`${name}_sum`, { ...own, value: sum }),
    line(`${name}_count`, { ...own, value: count }),
  ];
}

function line(name: string, { labels, value }: Sample): string {
  const pairs = Object.entries(labels ?? {}).map(([key, text]) => `${key}="${escapeLabel(text)}"`);
  return `${name}${pairs.length > 0 ? `{${pairs.join(",")}}` : ""} ${number(value)}`;
}

function number(value: number): string {
  if (Number.isFinite(value)) return String(value);
  return Number.isNaN(value) ? "NaN" : value > 0 ? "+Inf" : "-Inf";
}

function escapeHelp(text: string): string {
  return text.replaceAll("\\", "\\\\").replaceAll("\n", "\\n");
}

function escapeLabel(text: string): string {
  return escapeHelp(text).replaceAll('"', '\\"');
}
