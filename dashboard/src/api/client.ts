// Requests of version 2, typed by its OpenAPI document: `await answer(api.GET("/v2/status"))`.

import createClient, { type Client } from "openapi-fetch"
import { apiKey } from "./key.svelte.ts"
import { failureOf, unreachable, type Failure } from "./problem.ts"
import type { paths } from "./schema"

const TIMEOUT_MS = 20_000
type Media = "application/json" | "application/problem+json"

/** A client whose requests end after `timeoutMs` and carry the viewer's key. */
export function clientOf(fetch: typeof globalThis.fetch, timeoutMs = TIMEOUT_MS): Client<paths, Media> {
  const client = createClient<paths, Media>({ baseUrl: location.origin, fetch: (request) => fetch(request) })
  client.use({
    onRequest({ request }) {
      if (apiKey.secret !== null) request.headers.set("X-API-Key", apiKey.secret)
      return new Request(request, { signal: AbortSignal.any([request.signal, AbortSignal.timeout(timeoutMs)]) })
    },
  })
  return client
}

export const api = clientOf((request) => globalThis.fetch(request))

export type Answer<T> =
  { readonly data: T; readonly failure: null } | { readonly data: null; readonly failure: Failure }

/** The data of a request, or why there are none. It never throws, save for a request that its caller aborted. */
export async function answer<T>(
  request: Promise<{ data?: T; error?: unknown; response: Response }>,
): Promise<Answer<NonNullable<T>>> {
  const { secret } = apiKey
  try {
    const { data, error, response } = await request
    if (response.ok && data !== undefined && data !== null) return { data, failure: null }
    const failure = failureOf(response, error)
    if (failure.status === 401) apiKey.refuse(secret, failure.detail)
    return { data: null, failure }
  } catch (cause) {
    if (cause instanceof DOMException && cause.name === "AbortError") throw cause
    return { data: null, failure: unreachable(cause) }
  }
}
