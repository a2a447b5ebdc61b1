// The sentence in place of an answer that is not there. Pure.

import type { Failure } from "../api/problem.ts"
import { duration } from "../format/times.ts"

/** What is asked for, or why there is none and when it is asked for again. retryAtMs, nowMs: by the viewer's clock. */
export function waitingSentence(
  what: string,
  failure: Failure | null,
  retryAtMs: number | null,
  nowMs: number,
): string {
  if (failure === null) return `${what}: asking the server.`
  const again =
    retryAtMs === null ? "" : ` Asked again in ${duration(Math.ceil(Math.max(0, retryAtMs - nowMs) / 1000))}.`
  const limited = failure.status === 429 ? "Too many requests were made. " : ""
  return `${what}: ${limited}${failure.detail} (${failure.code})${again}`
}
