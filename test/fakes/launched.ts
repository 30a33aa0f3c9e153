/**
 * A program for the launcher to start: prints what it was given, then ends as
 * it is told: `exit 7`, or `wait` for a signal and answer it with 7. Told `print`
 * and a name, it prints that variable of its environment.
 *
 * @module
 */

import process from "node:process";

const [order, code] = process.argv.slice(2);
if (order === "wait") {
  process.on("SIGTERM", () => {
    console.log("got SIGTERM");
    process.exit(7);
  });
  setTimeout(() => {}, 60_000);
}
if (order === "print") console.log(`${code}=${process.env[code ?? ""]}`);
console.log(`started with ${process.argv.slice(2).join(" ")}`);
if (order === "exit") process.exit(Number(code));
