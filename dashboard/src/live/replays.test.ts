// @vitest-environment happy-dom
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest"
import { Replays, REST_MS } from "./replays.svelte.ts"

const DAY = "2026-03-09"
const JSON_TYPE = { "Content-Type": "application/json" }
let asked: URL[] = []
let respond: () => Response = () => new Response("{}", { headers: { "Content-Type": "application/json" } })

beforeEach(() => {
  vi.useFakeTimers()
  asked = []
  vi.stubGlobal("fetch", (request: Request) => {
    asked.push(new URL(request.url))
    return Promise.resolve(respond())
  })
})

afterEach(() => {
  vi.useRealTimers()
  vi.unstubAllGlobals()
  respond = () => new Response("{}", { headers: { "Content-Type": "application/json" } })
})

function refusing(status: number): () => Response {
  const headers = { "Retry-After": "30", "Content-Type": "application/problem+json" }
  return () => new Response(JSON.stringify({ detail: "No.", error_code: "X" }), { status, headers })
}

function moments(): string[] {
  return [...new Set(asked.map((url) => url.searchParams.get("at") ?? ""))]
}

describe("past moments", () => {
  it("are asked for once the slider rests, with New York's offset, for each ticker once", async () => {
    const replays = new Replays()
    for (let minute = 10; minute < 60; minute += 1) {
      replays.follow({ date: DAY, time: `14:${minute}` })
      await vi.advanceTimersByTimeAsync(50)
    }
    expect(asked).toEqual([])
    await vi.advanceTimersByTimeAsync(5000)
    expect(moments()).toEqual(["2026-03-09T14:59:00-04:00"])
    expect(asked.map(({ pathname }) => pathname)).toEqual(["/v2/replay/SPY", "/v2/replay/QQQ", "/v2/replay/IWM"])
  })

  it("are not asked for while a key is held, at the pace of the address", async () => {
    const replays = new Replays()
    for (let minute = 10; minute < 40; minute += 1) {
      replays.follow({ date: DAY, time: `14:${minute}` })
      await vi.advanceTimersByTimeAsync(350)
    }
    expect(asked).toEqual([])
    await vi.advanceTimersByTimeAsync(REST_MS)
    expect(moments()).toEqual(["2026-03-09T14:39:00-04:00"])
  })

  it("are asked for less often than the server refuses, whoever steps through them", async () => {
    const replays = new Replays()
    for (let step = 0; step < 60; step += 1) {
      replays.follow({ date: DAY, time: `1${Math.floor(step / 30)}:${10 + (step % 30)}` })
      await vi.advanceTimersByTimeAsync(1_000)
    }
    expect(asked.length).toBeGreaterThan(30)
    expect(asked.length).toBeLessThan(60)
  })

  it("are asked for again after a while, unless the server says that they never change", async () => {
    const replays = new Replays()
    const visit = async (time: string): Promise<number> => {
      const before = asked.length
      replays.follow({ date: DAY, time })
      await vi.advanceTimersByTimeAsync(5_000)
      return asked.length - before
    }
    expect([await visit("14:00"), await visit("14:01"), await visit("14:00")]).toEqual([3, 3, 0])
    await vi.advanceTimersByTimeAsync(600_000)
    expect([await visit("14:01"), await visit("14:01")]).toEqual([3, 0])
    respond = () => new Response("{}", { headers: { ...JSON_TYPE, "Cache-Control": "private, immutable" } })
    expect(await visit("14:02")).toBe(3)
    await vi.advanceTimersByTimeAsync(3_600_000)
    expect([await visit("14:03"), await visit("14:02")]).toEqual([3, 0])
  })

  it("leave the signals of the moment before until theirs have come, or the server has said that it has none", async () => {
    const [first, second] = [
      { date: DAY, time: "14:00" },
      { date: DAY, time: "14:01" },
    ]
    respond = () => new Response(JSON.stringify({ reason: "of 14:00" }), { headers: JSON_TYPE })
    const replays = new Replays()
    expect(replays.before("SPY", first)).toBeNull()
    replays.follow(first)
    await vi.advanceTimersByTimeAsync(5_000)
    expect(replays.before("SPY", first)).toBeNull()
    expect(replays.of("SPY", second)).toBeUndefined()
    respond = refusing(429)
    replays.follow(second)
    expect(replays.before("SPY", second)?.reason).toBe("of 14:00")
    await vi.advanceTimersByTimeAsync(5_000)
    expect(replays.of("SPY", second)?.failure?.status).toBe(429)
    expect(replays.before("SPY", second)?.reason).toBe("of 14:00")
    respond = refusing(400)
    await vi.advanceTimersByTimeAsync(60_000)
    expect(replays.before("SPY", second)).toBeNull()
    replays.follow(null)
    expect(replays.before("SPY", { date: DAY, time: "15:00" })).toBeNull()
  })

  it("that are known are not asked for again", async () => {
    const replays = new Replays()
    for (const time of ["14:00", "14:01", "14:00"]) {
      replays.follow({ date: DAY, time })
      await vi.advanceTimersByTimeAsync(5000)
    }
    expect(asked.length).toBe(6)
  })

  it("wait for as long as the server says", async () => {
    respond = refusing(429)
    const replays = new Replays()
    replays.follow({ date: DAY, time: "14:00" })
    await vi.advanceTimersByTimeAsync(1000)
    replays.follow({ date: DAY, time: "14:30" })
    await vi.advanceTimersByTimeAsync(29_000)
    expect(asked.length).toBe(1)
    await vi.advanceTimersByTimeAsync(2_000)
    expect(moments().at(-1)).toBe("2026-03-09T14:30:00-04:00")
    expect(asked.length).toBe(2)
  })

  it("are no longer asked for when the page shows now", async () => {
    const replays = new Replays()
    replays.follow({ date: DAY, time: "14:00" })
    replays.follow(null)
    await vi.advanceTimersByTimeAsync(5000)
    expect(asked).toEqual([])
  })
})
