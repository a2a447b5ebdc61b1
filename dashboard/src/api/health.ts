// GET /health, whose `operations` are for operators and have no fixed fields.

import type { Answer } from "./client.ts"
import { apiKey } from "./key.svelte.ts"
import { failureOf, unreachable } from "./problem.ts"

export async function askHealth(signal: AbortSignal): Promise<Answer<object>> {
  try {
    const headers = apiKey.secret === null ? {} : { "X-API-Key": apiKey.secret }
    const response = await fetch("/health", { headers, signal })
    const body: unknown = await response.json().catch(() => null)
    if (response.ok && typeof body === "object" && body !== null) return { data: body, failure: null }
    return { data: null, failure: failureOf(response, body) }
  } catch (cause) {
    return { data: null, failure: unreachable(cause) }
  }
}

/** What the key of this page may do, or the page without one. */
export interface Allowance {
  /** Requests in so many seconds, as the server counts these requests now; null where it has no limit. */
  readonly requests: number | null
  readonly seconds: number | null
  readonly isOperator: boolean
}

/** Ask what the key may do: its limit stands in the headers of an answer, and metrics are open to operators alone. */
export async function askAllowance(): Promise<Answer<Allowance>> {
  try {
    const headers = apiKey.secret === null ? {} : { "X-API-Key": apiKey.secret }
    const status = await fetch("/v2/status", { headers })
    if (!status.ok) return { data: null, failure: failureOf(status, await status.json().catch(() => null)) }
    const metrics = apiKey.secret === null ? null : await fetch("/metrics", { method: "HEAD", headers })
    return {
      data: { ...policyOf(status.headers.get("RateLimit-Policy")), isOperator: metrics?.ok === true },
      failure: null,
    }
  } catch (cause) {
    return { data: null, failure: unreachable(cause) }
  }
}

/** The limit that a RateLimit-Policy header names, like `"other";q=240;w=60`. */
export function policyOf(header: string | null): { readonly requests: number | null; readonly seconds: number | null } {
  const number = (name: string): number | null => {
    const found = new RegExp(`;\\s*${name}=(\\d+)`).exec(header ?? "")?.[1]
    return found === undefined ? null : Number(found)
  }
  return { requests: number("q"), seconds: number("w") }
}
