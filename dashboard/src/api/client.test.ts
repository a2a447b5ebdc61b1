// @vitest-environment happy-dom
import { afterEach, describe, expect, it, vi } from "vitest"
import { answer, clientOf } from "./client.ts"
import { apiKey } from "./key.svelte.ts"

const PROBLEM = {
  type: "/docs/errors#RATE_LIMITED",
  title: "",
  status: 429,
  detail: "Too many.",
  error_code: "RATE_LIMITED",
  request_id: "r1",
}

function replying(status: number, body: unknown, headers: Record<string, string> = {}): typeof fetch {
  return vi.fn<typeof fetch>(() =>
    Promise.resolve(
      new Response(JSON.stringify(body), { status, headers: { "Content-Type": "application/json", ...headers } }),
    ),
  )
}

afterEach(() => {
  apiKey.set(null)
})

describe("a request", () => {
  it("gives the data of an answer", async () => {
    const found = await answer(clientOf(replying(200, { market: "demo" })).GET("/v2/status"))
    expect(found).toEqual({ data: { market: "demo" }, failure: null })
  })

  it("says when to come back after a 429", async () => {
    const { failure } = await answer(clientOf(replying(429, PROBLEM, { "Retry-After": "7" })).GET("/v2/status"))
    expect(failure).toEqual({ status: 429, code: "RATE_LIMITED", detail: "Too many.", retryAfterS: 7, requestId: "r1" })
  })

  it("understands an answer that is no problem of the server", async () => {
    const { failure } = await answer(clientOf(replying(502, "bad gateway")).GET("/v2/status"))
    expect(failure).toMatchObject({ status: 502, code: "HTTP_502", retryAfterS: null })
  })

  it("says that the server cannot be reached", async () => {
    const broken = vi.fn<typeof fetch>(() => Promise.reject(new TypeError("failed to fetch")))
    expect((await answer(clientOf(broken).GET("/v2/status"))).failure).toMatchObject({ status: 0, code: "UNREACHABLE" })
  })

  it("carries the key in a header and never in the address", async () => {
    const fetch = vi.fn<(request: Request) => Promise<Response>>(() =>
      Promise.resolve(new Response("{}", { status: 200 })),
    )
    apiKey.set("s3cret")
    await answer(clientOf(fetch as typeof globalThis.fetch).GET("/v2/status"))
    const request = fetch.mock.calls[0]?.[0]
    expect(request?.headers.get("X-API-Key")).toBe("s3cret")
    expect(request?.url).not.toContain("s3cret")
  })

  it("that is refused says nothing of a key that was given since", async () => {
    const unknown = { ...PROBLEM, status: 401, error_code: "UNAUTHORIZED", detail: "Unknown." }
    apiKey.set("wrong")
    const late = answer(clientOf(replying(401, unknown)).GET("/v2/status"))
    apiKey.set("right")
    await late
    expect(apiKey.refusal).toBeNull()
    await answer(clientOf(replying(401, unknown)).GET("/v2/status"))
    expect(apiKey.refusal).toBe("Unknown.")
  })
})
