/**
 * How a command ends: its exit codes (the numbers of BSD's sysexits) and the
 * one error that carries one.
 *
 * @module
 */

/** Codes are an interface: scripts and service managers branch on them. */
export const EXIT = {
  ok: { code: 0, about: "done" },
  negative: { code: 1, about: "the answer is no: damage found, no such topic" },
  usage: { code: 64, about: "wrong usage" },
  refused: { code: 65, about: "the node refused the request" },
  noInput: { code: 66, about: "an input file cannot be read" },
  unavailable: { code: 69, about: "not available: the node, the address, the data directory" },
  internal: { code: 70, about: "a defect in Tidegate" },
  io: { code: 74, about: "the disk failed" },
  forbidden: { code: 77, about: "not allowed" },
  config: { code: 78, about: "a setting is wrong" },
} as const;

export type ExitName = keyof typeof EXIT;

/** An operating error of a command: people read the message, scripts the code. */
export class CliError extends Error {
  override readonly name = "CliError";
  readonly exitCode: number;

  constructor(exit: ExitName, message: string, cause?: unknown) {
    super(message, { cause });
    this.exitCode = EXIT[exit].code;
  }
}
