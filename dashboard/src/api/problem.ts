// What went wrong with a request, for the page: problems of the server (RFC 9457), and those of the way to it.

import type { Problem } from "./types.ts"

/** Why there is no answer. status: 0 where no answer of the server arrived. retryAfterS: when to ask again; null if unknown. */
export interface Failure {
  readonly status: number
  readonly code: string
  readonly detail: string
  readonly retryAfterS: number | null
  readonly requestId: string | null
}

/** The failure that an answer other than 2xx tells of. */
export function failureOf(response: Response, body: unknown): Failure {
  const problem = isProblem(body) ? body : null
  return {
    status: response.status,
    code: problem?.error_code ?? `HTTP_${response.status}`,
    detail: problem?.detail ?? `The server answered ${response.status} ${response.statusText}`.trimEnd() + ".",
    retryAfterS: secondsOf(response.headers.get("Retry-After")),
    requestId: problem?.request_id ?? null,
  }
}

/** The failure of a request that got no answer. */
export function unreachable(cause: unknown): Failure {
  const isTimeout = cause instanceof DOMException && cause.name === "TimeoutError"
  return {
    status: 0,
    code: isTimeout ? "TIMEOUT" : "UNREACHABLE",
    detail: isTimeout ? "The server did not answer in time." : "The server cannot be reached.",
    retryAfterS: null,
    requestId: null,
  }
}

/** Seconds of a Retry-After header (RFC 9110 10.2.3); the server sends no dates. */
export function secondsOf(header: string | null): number | null {
  return header !== null && /^\d+$/.test(header.trim()) ? Number(header) : null
}

function isProblem(body: unknown): body is Problem {
  return typeof body === "object" && body !== null && "error_code" in body && "detail" in body
}
